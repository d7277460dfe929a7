/* null_reader: becomes the audit daemon, takes records by recvmmsg(256) and throws them away.
 *
 * The naive reader that others are measured against: it is woken whenever there is a record,
 * looks at nothing and stores nothing. Prints "ready" when the kernel sends it records; at
 * SIGTERM it prints how many came, and unregisters.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 256
#define LONGEST 9216 /* MAX_AUDIT_MESSAGE_LENGTH and a header */

static char memory[BATCH][LONGEST];
static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static int set_pid(int fd, unsigned int pid, int want_answer)
{
	struct {
		struct nlmsghdr header;
		struct audit_status status;
	} request = {
		.header = {
			.nlmsg_len = sizeof request,
			.nlmsg_type = AUDIT_SET,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
			.nlmsg_seq = 1,
		},
		.status = { .mask = AUDIT_STATUS_PID, .pid = pid },
	};
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[LONGEST];
	} answer;

	if (sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
		return -errno;
	while (want_answer) {
		if (recv(fd, &answer, sizeof answer, 0) < 0)
			return -errno;
		if (answer.header.nlmsg_type == NLMSG_ERROR)
			return answer.error.error;
	}
	return 0;
}

int main(void)
{
	struct sigaction action = { .sa_handler = stop };
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	int room = 32 << 20, on = 1;
	long records = 0;

	sigaction(SIGTERM, &action, NULL);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
	if (fd < 0) {
		perror("null_reader: socket");
		return 1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
	int error = set_pid(fd, getpid(), 1);
	if (error) {
		fprintf(stderr, "null_reader: registering: %s\n", strerror(-error));
		return 1;
	}
	memset(messages, 0, sizeof messages);
	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){ memory[i], LONGEST };
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	puts("ready");
	fflush(stdout);
	while (!stopped) {
		int got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		if (got < 0 && errno != EINTR && errno != ENOBUFS) {
			perror("null_reader: recvmmsg");
			return 1;
		}
		records += got > 0 ? got : 0;
	}
	set_pid(fd, 0, 0);
	printf("%ld\n", records);
	return 0;
}
