/* forks: one child by each way the kernel has to make a process; each child calls exit_group.
 *
 * Prints "WAY PID" a line, so that a test knows who was made how.
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int child_of_clone(void *unused)
{
	(void)unused;
	syscall(SYS_exit_group, 23);
	return 0;
}

static void finish(const char *way, pid_t pid)
{
	if (pid < 0) {
		perror(way);
		exit(1);
	}
	printf("%s %d\n", way, pid);
	fflush(stdout);
	waitpid(pid, NULL, 0);
}

int main(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct clone_args arguments = {.exit_signal = SIGCHLD};

	pid_t pid = syscall(SYS_fork);
	if (pid == 0) {
		/* A grandchild, so that the tree is two deep. */
		pid_t grandchild = syscall(SYS_fork);
		if (grandchild == 0)
			syscall(SYS_exit_group, 20);
		finish("grandchild", grandchild);
		syscall(SYS_exit_group, 21);
	}
	finish("fork", pid);
	pid = vfork();
	if (pid == 0) {
		execl("/bin/true", "vforked", NULL);
		_exit(127);
	}
	finish("vfork", pid);
	finish("clone", clone(child_of_clone, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL));
	pid = syscall(SYS_clone3, &arguments, sizeof arguments);
	if (pid == 0)
		syscall(SYS_exit_group, 24);
	finish("clone3", pid);
	return 0;
}
