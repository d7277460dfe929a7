/* dense ROUNDS: system calls of many argument widths and results, one after the other. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static char memory[4096];

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 1;

	for (long i = 0; i < rounds; i++) {
		long fd = syscall(SYS_openat, AT_FDCWD, "/dev/zero", O_RDWR, 0);
		syscall(SYS_read, fd, memory, i % sizeof memory);
		syscall(SYS_write, fd, memory, sizeof memory);
		syscall(SYS_pread64, fd, memory, 8L, i);
		syscall(SYS_lseek, fd, -1L, SEEK_SET);
		syscall(SYS_lseek, fd, 1L << 40, SEEK_SET);
		syscall(SYS_close, fd);
		syscall(SYS_close, -1L);
		syscall(SYS_close, 0x7fffffffL - i);
		syscall(SYS_openat, AT_FDCWD, "/nonexistent", O_RDONLY, 0);
		syscall(SYS_openat, AT_FDCWD, (char *)16, O_RDONLY, 0);
		long map = syscall(SYS_mmap, 0L, 8192L, 3L, 0x22L, -1L, 0L);
		syscall(SYS_munmap, map, 8192L);
		syscall(SYS_mmap, 0x123456789abcd000L, -5L, 7L, -1L, -1L, -1L);
		syscall(SYS_getppid);
		syscall(SYS_kill, getpid(), 0L);
		syscall(SYS_kill, -2147483648L, 77L);
		syscall(1000L + i % 7, -1L, -2L, -3L, -4L); /* numbers without a call: ENOSYS */
	}
	return 0;
}
