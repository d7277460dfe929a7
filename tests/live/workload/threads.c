/* threads CALLS: three threads that each make CALLS calls of their own at the same time. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static long calls;

static void *work(void *which)
{
	for (long i = 0; i < calls; i++)
		syscall(SYS_lseek, -1L - (long)which, i, SEEK_SET);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[3];

	calls = argc > 1 ? atol(argv[1]) : 1;
	for (long i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	for (long i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
