/* calls open|exec|lone COUNT: system calls to be audited.
 *
 * open  opens and closes /dev/null, COUNT times
 * exec  starts this program anew as a child that ends at once, COUNT times
 * lone  calls getppid COUNT times with 0.3 s between, and prints before each the time
 *       (CLOCK_MONOTONIC, nanoseconds)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "end"))
		_exit(0);
	if (argc != 3)
		return 2;
	long count = atol(argv[2]);
	for (long i = 0; i < count; i++) {
		if (!strcmp(argv[1], "open")) {
			int fd = open("/dev/null", O_RDONLY);
			if (fd < 0)
				return 1;
			close(fd);
		} else if (!strcmp(argv[1], "exec")) {
			char *words[] = { argv[0], "end", NULL };
			int status;
			pid_t child;
			if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, environ) ||
			    waitpid(child, &status, 0) < 0 || status)
				return 1;
		} else {
			struct timespec t, pause = { .tv_nsec = 300000000 };
			nanosleep(&pause, NULL);
			clock_gettime(CLOCK_MONOTONIC, &t);
			printf("%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec);
			syscall(SYS_getppid);
		}
	}
	return 0;
}
