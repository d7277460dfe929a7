/* orphan: makes a process whose first call comes when its parent has ended.
 *
 * Until then it looks at shared memory, which is no call.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int ends[2];
	char byte;
	int *go = mmap(NULL, sizeof *go, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (go == MAP_FAILED || pipe(ends)) {
		perror("orphan");
		return 1;
	}
	pid_t parent = syscall(SYS_fork);
	if (parent == 0) {
		pid_t orphan = syscall(SYS_fork);
		if (orphan == 0) {
			while (!__atomic_load_n(go, __ATOMIC_ACQUIRE))
				;
			syscall(SYS_exit_group, 25);
		}
		syscall(SYS_exit_group, orphan < 0);
	}
	if (parent < 0 || waitpid(parent, NULL, 0) < 0) {
		perror("orphan");
		return 1;
	}
	__atomic_store_n(go, 1, __ATOMIC_RELEASE);
	close(ends[1]);
	/* It has the other end until its own. */
	while (read(ends[0], &byte, 1) > 0)
		;
	return 0;
}
