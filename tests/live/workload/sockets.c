/* sockets PORT PATH NAME: bind, connect and sendto with an address of each family.
 *
 * PORT is a free UDP port of the loopback interface, PATH a file name for a unix
 * socket, NAME the name of an abstract one. A family that the kernel refuses still
 * has its address copied in, and audited, before the refusal.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void use(int family, int type, const void *address, socklen_t length)
{
	int server = socket(family, type | SOCK_CLOEXEC, 0);
	int client = socket(family, type | SOCK_CLOEXEC, 0);

	bind(server, address, length);
	connect(client, address, length);
	sendto(server, "x", 1, MSG_DONTWAIT, address, length);
	close(client);
	close(server);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	int port = atoi(argv[1]);

	struct sockaddr_in inet = {.sin_family = AF_INET, .sin_port = htons(port)};
	inet_pton(AF_INET, "127.0.0.1", &inet.sin_addr);
	use(AF_INET, SOCK_DGRAM, &inet, sizeof inet);

	struct sockaddr_in6 inet6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	inet_pton(AF_INET6, "::1", &inet6.sin6_addr);
	use(AF_INET6, SOCK_DGRAM, &inet6, sizeof inet6);

	struct sockaddr_un path = {.sun_family = AF_UNIX};
	strncpy(path.sun_path, argv[2], sizeof path.sun_path - 1);
	use(AF_UNIX, SOCK_DGRAM, &path, sizeof path);
	unlink(argv[2]);

	/* An abstract name starts with NUL and has no end but the length. */
	struct sockaddr_un abstract = {.sun_family = AF_UNIX};
	strncpy(abstract.sun_path + 1, argv[3], sizeof abstract.sun_path - 2);
	use(AF_UNIX, SOCK_DGRAM, &abstract,
	    offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[3]));

	struct sockaddr_nl netlink = {.nl_family = AF_NETLINK, .nl_pid = 0x7ffffff0, .nl_groups = 1};
	use(AF_NETLINK, SOCK_RAW, &netlink, sizeof netlink);

	struct sockaddr_ll packet = {.sll_family = AF_PACKET,
				     .sll_protocol = htons(0x88b5), /* local experimental */
				     .sll_ifindex = if_nametoindex("lo"),
				     .sll_halen = 6,
				     .sll_addr = {2, 0, 0, 0, 0, 0x2a}};
	use(AF_PACKET, SOCK_DGRAM, &packet, sizeof packet);

	struct sockaddr_vm vsock = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = 4242};
	/* Not blocking: where no loopback transport answers, connect would wait for two seconds. */
	use(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK, &vsock, sizeof vsock);
	return 0;
}
