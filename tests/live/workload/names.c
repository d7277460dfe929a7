/* names NAME...: make, rename to and from "renamed", link, open and remove each NAME, byte for byte. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int fd = openat(AT_FDCWD, argv[i], O_CREAT | O_EXCL | O_RDWR, 0640);
		if (fd < 0 || close(fd) < 0 || renameat(AT_FDCWD, argv[i], AT_FDCWD, "renamed") < 0 ||
		    renameat(AT_FDCWD, "renamed", AT_FDCWD, argv[i]) < 0 || unlink(argv[i]) < 0) {
			perror("names");
			return 1;
		}
		if (mkdir(argv[i], 0700) < 0 || chdir(argv[i]) < 0 || access("inside", F_OK) == 0 ||
		    chdir("..") < 0 || rmdir(argv[i]) < 0) {
			perror("names");
			return 1;
		}
	}
	return 0;
}
