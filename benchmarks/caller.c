/* caller PATH: makes system calls in a loop on request, and prints the cost of one.
 *
 * It forks at once, and the child makes the calls: the rules that are loaded at the fork
 * decide whether a task has the audit flag. Prints the child's pid, then reads lines
 *
 *     getppid|open|cold CALLS CHUNKS
 *
 * and answers each with the nanoseconds of one turn: the median of CHUNKS chunks of CALLS
 * turns each, and the mean of all. The median excludes other load on the machine; the
 * mean includes every time that the kernel lets an audited task wait.
 *
 * getppid  the cheapest call there is
 * open     opens and closes PATH
 * cold     getppid, each time after the processor's caches were filled with other data,
 *          as in a program that does work
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE 64
#define OTHER_THINGS (8 << 20) /* more than a core's own caches hold */

static volatile char other[OTHER_THINGS];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Nanoseconds of COUNT turns. */
static double turns(const char *call, const char *path, long count)
{
	double begin, spent = 0;

	if (!strcmp(call, "cold")) {
		for (long i = 0; i < count; i++) {
			for (long place = 0; place < OTHER_THINGS; place += LINE)
				other[place]++;
			begin = now();
			syscall(SYS_getppid);
			spent += now() - begin;
		}
		return spent;
	}
	begin = now();
	if (!strcmp(call, "getppid")) {
		for (long i = 0; i < count; i++)
			syscall(SYS_getppid);
	} else {
		for (long i = 0; i < count; i++) {
			int fd = open(path, O_RDONLY);
			if (fd < 0) {
				perror(path);
				exit(1);
			}
			close(fd);
		}
	}
	return now() - begin;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int serve(const char *path)
{
	char line[100], call[20];
	long calls, chunks;

	printf("%d\n", getpid());
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "%19s %ld %ld", call, &calls, &chunks) != 3 || calls < 1 ||
		    chunks < 1)
			return 2;
		double *each = calloc(chunks, sizeof *each), sum = 0;
		if (!each)
			return 1;
		for (long i = 0; i < chunks; i++) {
			each[i] = turns(call, path, calls) / calls;
			sum += each[i];
		}
		qsort(each, chunks, sizeof *each, ascending);
		printf("%.3f %.3f\n", each[chunks / 2], sum / chunks);
		fflush(stdout);
		free(each);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int status;

	if (argc != 2) {
		fprintf(stderr, "usage: caller PATH\n");
		return 2;
	}
	pid_t child = fork();
	if (!child)
		return serve(argv[1]);
	if (child < 0 || waitpid(child, &status, 0) < 0) {
		perror("caller");
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
