/* scan FILE: counts newlines by memchr, three times; prints them and lines a second, the best.
 * The minimum that a reader of lines must do with a log in memory. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct stat about;
	int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0 || fstat(fd, &about) < 0) {
		perror("scan");
		return 1;
	}
	const char *data = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (data == MAP_FAILED) {
		perror("scan: mmap");
		return 1;
	}
	double best = 0;
	long lines = 0;
	for (int round = 0; round < 3; round++) {
		double begin = now();
		const char *end = data + about.st_size, *at = data;

		lines = 0;
		while ((at = memchr(at, '\n', end - at))) {
			lines++;
			if (++at == end)
				break;
		}
		double speed = lines / (now() - begin);
		best = speed > best ? speed : best;
	}
	printf("%ld %.0f\n", lines, best);
	return 0;
}
