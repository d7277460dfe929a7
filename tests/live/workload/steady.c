/* steady NANOSECONDS: call getppid again and again, with at least this pause, until SIGTERM.
 *
 * Prints a line when it begins, and then how often it was called.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void end(int number)
{
	(void)number;
	ended = 1;
}

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
	long calls = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: steady NANOSECONDS\n");
		return 2;
	}
	long long pause = atoll(argv[1]), next = now();
	struct timespec time = { pause / 1000000000, pause % 1000000000 };

	signal(SIGTERM, end);
	puts("begun");
	fflush(stdout);
	while (!ended) {
		syscall(SYS_getppid);
		calls++;
		if (pause >= 1000000)
			nanosleep(&time, NULL);
		else
			for (next = now() + pause; pause && now() < next;)
				;
	}
	printf("%ld\n", calls);
	return 0;
}
