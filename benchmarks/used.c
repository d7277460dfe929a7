/* used FILE PROGRAM [ARGUMENT...]: runs a program and writes into FILE what it took:
 * seconds, CPU seconds, peak memory in kB.
 *
 * In between because the kernel counts the memory of whoever forked to the peak of what is
 * executed: of this program that is next to nothing.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double both(struct timeval t)
{
	return t.tv_sec + t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	struct timespec begin, end;
	struct rusage used;
	int status;

	if (argc < 3)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	pid_t child = fork();
	if (child == 0) {
		execv(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &used) < 0)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &end);
	FILE *out = fopen(argv[1], "w");
	if (!out)
		return 1;
	fprintf(out, "%.6f %.6f %ld\n",
		end.tv_sec - begin.tv_sec + (end.tv_nsec - begin.tv_nsec) / 1e9,
		both(used.ru_utime) + both(used.ru_stime), used.ru_maxrss);
	fclose(out);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
