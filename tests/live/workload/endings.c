/* endings CASE: the ways in which a task ends or leaves a system call.
 *
 *   exit        the last call is exit(3), not exit_group
 *   group       exit_group(4)
 *   killed      a child is killed while it waits in pause()
 *   siblings    exit_group while other threads are inside read()
 *   restart     read() is interrupted by a handler and restarted by the kernel
 *   interrupt   nanosleep() is interrupted and not restarted
 *   resume      nanosleep() goes on by restart_syscall after SIGSTOP and SIGCONT
 *   seccomp     strict mode kills the task at its next call, before that begins
 *   exec        a thread that is not the leader calls execve
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int pipe_ends[2];
static volatile pid_t reading;

/* Wait until the task sleeps in a call, as /proc shows it, so that no sleep is guessed. */
static void wait_until(pid_t pid, char state)
{
	char name[64], line[256];
	snprintf(name, sizeof name, "/proc/%d/stat", pid);
	for (;;) {
		int fd = open(name, O_RDONLY);
		ssize_t length = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
		if (fd >= 0)
			close(fd);
		line[length > 0 ? length : 0] = 0;
		char *end = strrchr(line, ')');
		if (end && end[2] == state)
			return;
		usleep(1000);
	}
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void *read_for_ever(void *unused)
{
	char byte;
	(void)unused;
	reading = syscall(SYS_gettid);
	syscall(SYS_read, pipe_ends[0], &byte, 1);
	return NULL;
}

static void *become_true(void *unused)
{
	char *arguments[] = {"from-a-thread", NULL};
	(void)unused;
	execv("/bin/true", arguments);
	return NULL;
}

static void on_signal(int number)
{
	(void)number;
}

static void handle_alarm(int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
	sigaction(SIGALRM, &action, NULL);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct timespec pause_time = {0, 500 * 1000 * 1000}, long_time = {60, 0};
	pthread_t thread;
	char byte;

	if (pipe(pipe_ends) < 0)
		return 1;
	if (!strcmp(what, "exit")) {
		syscall(SYS_exit, 3);
	} else if (!strcmp(what, "group")) {
		syscall(SYS_exit_group, 4);
	} else if (!strcmp(what, "killed")) {
		pid_t child = fork();
		if (child == 0) {
			syscall(SYS_pause);
			_exit(9);
		}
		wait_until(child, 'S');
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	} else if (!strcmp(what, "siblings")) {
		for (int i = 0; i < 3; i++) {
			reading = 0;
			pthread_create(&thread, NULL, read_for_ever, NULL);
			while (!reading)
				usleep(1000);
			wait_until(reading, 'S');
		}
		syscall(SYS_exit_group, 5);
	} else if (!strcmp(what, "restart")) {
		handle_alarm(SA_RESTART);
		pid_t child = fork();
		if (child == 0) {
			wait_until(getppid(), 'S');
			kill(getppid(), SIGALRM);
			usleep(50 * 1000);
			wait_until(getppid(), 'S');
			if (write(pipe_ends[1], "x", 1) != 1)
				_exit(1);
			_exit(0);
		}
		syscall(SYS_read, pipe_ends[0], &byte, 1);
		waitpid(child, NULL, 0);
	} else if (!strcmp(what, "interrupt")) {
		handle_alarm(0);
		pid_t child = fork();
		if (child == 0) {
			wait_until(getppid(), 'S');
			usleep(200 * 1000);
			kill(getppid(), SIGALRM);
			_exit(0);
		}
		syscall(SYS_nanosleep, &long_time, NULL);
		waitpid(child, NULL, 0);
	} else if (!strcmp(what, "resume")) {
		/* On a busy host it may have slept its fill before it is stopped: then again, longer. */
		for (double began = now();; began = now(), pause_time.tv_sec = 4 * pause_time.tv_sec + 1) {
			pid_t child = fork();
			if (child == 0) {
				syscall(SYS_nanosleep, &pause_time, NULL);
				_exit(0);
			}
			wait_until(child, 'S');
			kill(child, SIGSTOP);
			int status = 0;
			waitpid(child, &status, WUNTRACED);
			int slept = now() - began >= pause_time.tv_sec + pause_time.tv_nsec / 1e9;
			if (WIFSTOPPED(status)) {
				kill(child, SIGCONT);
				waitpid(child, NULL, 0);
			}
			if (!slept)
				break;
		}
	} else if (!strcmp(what, "seccomp")) {
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		syscall(SYS_getppid);
	} else if (!strcmp(what, "exec")) {
		pthread_create(&thread, NULL, become_true, NULL);
		pause();
	} else {
		fprintf(stderr, "endings: no case `%s`\n", what);
		return 2;
	}
	return 0;
}
