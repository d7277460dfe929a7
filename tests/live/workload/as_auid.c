/* as_auid UID PROGRAM [ARGUMENT...]: give this process a login uid, then become PROGRAM.
 *
 * The kernel looks at the login uid when a system call ends, so a rule with
 * `-F auid=UID` sees the write itself as the first call, then everything after it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: as_auid UID PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	int fd = open("/proc/self/loginuid", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, argv[1], strlen(argv[1])) < 0) {
		perror("as_auid: /proc/self/loginuid");
		return 125;
	}
	execv(argv[2], argv + 2);
	perror("as_auid: execv");
	return 127;
}
