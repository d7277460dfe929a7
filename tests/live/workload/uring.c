/* uring MODE DIRECTORY: file operations by io_uring, without liburing.
 *
 * MODE is inline (run by the task that submits), async (IOSQE_ASYNC: run by a
 * worker thread) or sqpoll (submitted and run by the kernel's own thread).
 * The names used in DIRECTORY are MODE-file, MODE-new and MODE-dir.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/stat.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ring, polled;
static unsigned *sq_tail, *sq_flags, sq_mask, *sq_array, *cq_head, *cq_tail, cq_mask;
static struct io_uring_sqe *entries;
static struct io_uring_cqe *completions;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void make_ring(void)
{
	struct io_uring_params p = {.flags = polled ? IORING_SETUP_SQPOLL : 0, .sq_thread_idle = 1000};

	ring = syscall(SYS_io_uring_setup, 4, &p);
	if (ring < 0)
		die("io_uring_setup");
	size_t sq_size = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	size_t cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *sq = mmap(NULL, sq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	entries = mmap(NULL, p.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		       IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || entries == MAP_FAILED)
		die("mmap");
	sq_tail = (unsigned *)(sq + p.sq_off.tail);
	sq_flags = (unsigned *)(sq + p.sq_off.flags);
	sq_mask = *(unsigned *)(sq + p.sq_off.ring_mask);
	sq_array = (unsigned *)(sq + p.sq_off.array);
	cq_head = (unsigned *)(cq + p.cq_off.head);
	cq_tail = (unsigned *)(cq + p.cq_off.tail);
	cq_mask = *(unsigned *)(cq + p.cq_off.ring_mask);
	completions = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
}

/* Submit one entry and return what it completed with. */
static int run(struct io_uring_sqe entry)
{
	unsigned tail = *sq_tail, flags = IORING_ENTER_GETEVENTS;

	entries[tail & sq_mask] = entry;
	sq_array[tail & sq_mask] = tail & sq_mask;
	atomic_store((_Atomic unsigned *)sq_tail, tail + 1);
	if (atomic_load((_Atomic unsigned *)sq_flags) & IORING_SQ_NEED_WAKEUP)
		flags |= IORING_ENTER_SQ_WAKEUP;
	while (*cq_head == atomic_load((_Atomic unsigned *)cq_tail))
		if (syscall(SYS_io_uring_enter, ring, polled ? 0 : 1, 1, flags, NULL, 0) < 0)
			die("io_uring_enter");
	int result = completions[*cq_head & cq_mask].res;
	atomic_store((_Atomic unsigned *)cq_head, *cq_head + 1);
	return result;
}

int main(int argc, char **argv)
{
	static struct statx status;
	static char file[64], other[64], folder[64];

	if (argc != 3 || chdir(argv[2]) < 0)
		return 2;
	const char *mode = argv[1];
	int flags = strcmp(mode, "async") ? 0 : IOSQE_ASYNC;
	polled = !strcmp(mode, "sqpoll");
	snprintf(file, sizeof file, "%s-file", mode);
	snprintf(other, sizeof other, "%s-new", mode);
	snprintf(folder, sizeof folder, "%s-dir", mode);
	make_ring();

#define SQE(...) ((struct io_uring_sqe){.flags = flags, __VA_ARGS__})
	int fd = run(SQE(.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (long)file,
			 .open_flags = O_CREAT | O_EXCL | O_RDWR, .len = 0600));
	if (fd < 0)
		return 3;
	if (run(SQE(.opcode = IORING_OP_WRITE, .fd = fd, .addr = (long)"hello", .len = 5)) != 5)
		return 4;
	if (run(SQE(.opcode = IORING_OP_STATX, .fd = AT_FDCWD, .addr = (long)file,
		    .len = STATX_BASIC_STATS, .off = (long)&status)))
		return 5;
	if (run(SQE(.opcode = IORING_OP_CLOSE, .fd = fd)))
		return 6;
	if (run(SQE(.opcode = IORING_OP_RENAMEAT, .fd = AT_FDCWD, .addr = (long)file,
		    .len = AT_FDCWD, .addr2 = (long)other)))
		return 7;
	if (run(SQE(.opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (long)other)))
		return 8;
	if (run(SQE(.opcode = IORING_OP_MKDIRAT, .fd = AT_FDCWD, .addr = (long)folder, .len = 0700)))
		return 9;
	if (run(SQE(.opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (long)folder,
		    .unlink_flags = AT_REMOVEDIR)))
		return 10;
	/* The kernel now knows that there is no such file; otherwise it would first try what it
	 * has in memory and then a worker, and log both tries. */
	if (access("missing", F_OK) == 0)
		return 11;
	if (run(SQE(.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (long)"missing")) != -2)
		return 12;
	return 0;
}
