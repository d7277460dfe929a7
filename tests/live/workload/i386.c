/* A 32-bit program without a C library: calls through int 0x80 only.
 *
 * Built with gcc -m32 -nostdlib -static, so that no 32-bit library is needed.
 * Its only argument is a file that it may make and remove.
 */
#define NULL ((void *)0)

enum {
	EXIT = 1, FORK = 2, READ = 3, WRITE = 4, OPEN = 5, CLOSE = 6, WAITPID = 7, UNLINK = 10,
	LSEEK = 19, GETPID = 20, ACCESS = 33, BRK = 45, GETPPID = 64, SOCKETCALL = 102,
	LLSEEK = 140, PREAD64 = 180, MMAP2 = 192, FSTAT64 = 197, GETUID32 = 199, EXIT_GROUP = 252,
	SOCKET = 359,
};

static long call(long nr, long a, long b, long c, long d, long e)
{
	long result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory");
	return result;
}

static void work(const char *name)
{
	static char buffer[256];
	unsigned long long position;

	call(GETPID, 0, 0, 0, 0, 0);
	call(GETPPID, 0, 0, 0, 0, 0);
	call(GETUID32, 0, 0, 0, 0, 0);
	long fd = call(OPEN, (long)name, 0102 /* O_CREAT | O_RDWR */, 0600, 0, 0);
	call(WRITE, fd, (long)"thirty-two bits\n", 16, 0, 0);
	call(LSEEK, fd, -4, 2 /* SEEK_END */, 0, 0);
	call(LLSEEK, fd, 1, 0x80000000, (long)&position, 0);
	call(PREAD64, fd, (long)buffer, 16, 0, 0);
	call(READ, -1, (long)buffer, 16, 0, 0);
	call(FSTAT64, fd, (long)buffer, 0, 0, 0);
	call(MMAP2, 0, 4096, 3, 0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */, -1);
	call(BRK, 0, 0, 0, 0, 0);
	call(CLOSE, fd, 0, 0, 0, 0);
	call(UNLINK, (long)name, 0, 0, 0, 0);
	call(ACCESS, (long)name, 0, 0, 0, 0);
	long socket_arguments[3] = {1 /* AF_UNIX */, 1 /* SOCK_STREAM */, 0};
	fd = call(SOCKETCALL, 1 /* SYS_SOCKET */, (long)socket_arguments, 0, 0, 0);
	call(CLOSE, fd, 0, 0, 0, 0);
	fd = call(SOCKET, 1, 1, 0, 0, 0);
	call(CLOSE, fd, 0, 0, 0, 0);
}

__attribute__((used)) static void begin(long *stack)
{
	const char *name = stack[0] > 1 ? (const char *)stack[2] : NULL;
	long child = call(FORK, 0, 0, 0, 0, 0);
	if (child == 0) {
		work(name);
		call(EXIT, 7, 0, 0, 0, 0);
	}
	call(WAITPID, child, 0, 0, 0, 0);
	call(EXIT_GROUP, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\tmov %esp, %eax\n\tpush %eax\n\tcall begin\n");
