/* tracer PID: stops a process at the entry and exit of each of its system calls, and lets it
 * go on without a look at it: the least that any tracer built on ptrace(2) costs.
 *
 * Prints "ready" when the process is its own; at SIGTERM it writes the number of stops (a
 * long) and ends, which frees the process.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile long stops;

static void stop(int number)
{
	long count = stops;

	(void)number;
	_exit(write(1, &count, sizeof count) != sizeof count);
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid = argc == 2 ? atoi(argv[1]) : 0;

	if (pid <= 0) {
		fprintf(stderr, "usage: tracer PID\n");
		return 2;
	}
	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) ||
	    ptrace(PTRACE_INTERRUPT, pid, 0, 0) || waitpid(pid, &status, __WALL) < 0) {
		perror("tracer");
		return 1;
	}
	signal(SIGTERM, stop);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int given = 0;

		if (!WIFSTOPPED(status))
			return 1;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			stops++;
		else if (!(status >> 16)) /* a signal of its own, to be delivered */
			given = WSTOPSIG(status);
		if (ptrace(PTRACE_SYSCALL, pid, 0, given) ||
		    waitpid(pid, &status, __WALL) < 0) {
			perror("tracer");
			return 1;
		}
	}
}
