// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The last thing that /init becomes: runs the host's commands, one after the
 * other, over a virtio-serial port, and reaps orphans. `agent PORT NONCE`.
 *
 * A frame is a kind (1 byte), a size (4 bytes, little-endian as both
 * architectures are) and that many bytes, CHUNK at most.
 *
 * from the host                         to the host
 *   C command  sh -c, a session of        S         it was started
 *              its own                    O bytes   its stdout
 *   I bytes    stdin; none: its end       E bytes   its stderr
 *   K          kill the session           W count   bytes of stdin taken
 *   T now seed clock and random           X status  it ended, wait(2)'s words
 *              numbers
 *   A          are you alive?             A         yes
 *
 * Every command ends with one X. The host has at most CHUNK bytes of stdin on
 * the way, so that they never stand before a K. What the host does not read is
 * not read from the command either.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK	65536
#define HEAD	5
#define NONE	-1
#define HWRNG_HELD	256	/* twice a cache line of any of our architectures, at most */

enum { IN, OUT, ERR, PORT, FDS };

/* What is watched; the first three are the running command's. */
static struct pollfd fds[FDS];
static pid_t session;		/* 0: no command runs */
static int status, ended, killed;

static char frame[HEAD + CHUNK + 1];	/* the host's, as far as it is here */
static size_t framed;
static char held[CHUNK];	/* stdin that is not yet taken */
static size_t holds;
static int last;		/* and nothing comes after it */

static sigset_t quiet;		/* SIGCHLD comes while we wait, only then */

static void say(const char *words, const char *more)
{
	char line[256] = "<5>kdelta: ";
	int kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	strncat(line, words, 100);
	strncat(line, more, 100);
	strcat(line, "\n");	/* or the kernel waits for the rest of it */
	if (write(kmsg, line, strlen(line)) < 0)
		return;	/* to whom? */
	close(kmsg);
}

static void shut(int which)
{
	if (fds[which].fd != NONE)
		close(fds[which].fd);
	fds[which].fd = NONE;
}

static void put(const void *bytes, size_t size)
{
	while (size) {
		ssize_t done = write(fds[PORT].fd, bytes, size);

		if (done < 0 && errno != EINTR)
			return;	/* seen where the port is read */
		if (done > 0) {
			bytes = (const char *)bytes + done;
			size -= done;
		}
	}
}

static void tell(char kind, const void *bytes, uint32_t size)
{
	static char out[HEAD + CHUNK];

	out[0] = kind;
	memcpy(out + 1, &size, sizeof(size));
	memcpy(out + HEAD, bytes, size);
	put(out, HEAD + size);
}

/* Hands on one chunk of what the command says. */
static void pass(int which)
{
	static char words[CHUNK];
	ssize_t size = read(fds[which].fd, words, sizeof(words));

	if (size > 0)
		tell(which == OUT ? 'O' : 'E', words, size);
	else if (size == 0 || errno != EAGAIN)
		shut(which);
}

static void take(uint32_t size)
{
	holds -= size;
	memmove(held, held + size, holds);
	if (size)
		tell('W', &size, sizeof(size));
}

static void feed(int events)
{
	ssize_t size = events & POLLERR ? -1 : write(fds[IN].fd, held, holds);

	if (size >= 0) {
		take(size);
	} else if (events & POLLERR || errno != EAGAIN) {
		take(holds);	/* nobody reads it any more */
		last = 1;
	}
	if (last && !holds)
		shut(IN);
}

static void keep(const char *bytes, uint32_t size)
{
	memcpy(held + holds, bytes, size);
	holds += size;
	last |= !size;
	if (fds[IN].fd == NONE)
		take(holds);
}

/* The host's end of a stream in fds[which], the command's in `theirs`. */
static int stream(int which, int *theirs)
{
	int ends[2], ours = which != IN ? 0 : 1;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	fcntl(ends[ours], F_SETFL, O_NONBLOCK);
	fds[which].fd = ends[ours];
	*theirs = ends[!ours];
	return 0;
}

static int spawn(char *command)
{
	char *argv[] = { "sh", "-c", command, NULL };
	int theirs[3] = { NONE, NONE, NONE };
	volatile int fault = 0;	/* the child writes it, too: it has our memory */

	for (int i = IN; i <= ERR && !fault; i++)
		fault = stream(i, &theirs[i]) ? errno : 0;
	/* Returns after the exec: a K that comes next finds the session. */
	session = fault ? 0 : vfork();
	if (!fault && session == 0) {
		setsid();
		for (int i = IN; i <= ERR; i++)
			dup2(theirs[i], i);
		for (int i = 1; i < NSIG; i++)	/* whoever started us may ignore some */
			signal(i, SIG_DFL);
		sigprocmask(SIG_SETMASK, &quiet, NULL);
		execve("/bin/sh", argv, environ);
		fault = errno;
		_exit(126);
	}
	if (session < 0)
		fault = errno;
	for (int i = IN; i <= ERR; i++)
		close(theirs[i]);
	return fault;
}

static void end(int how)
{
	for (int i = IN; i <= ERR; i++)
		shut(i);
	session = 0;
	tell('X', &how, sizeof(how));
}

static void start(char *command)
{
	int fault;

	if (session)
		return;
	holds = last = ended = killed = 0;
	fault = spawn(command);
	tell('S', "", 0);
	if (fault) {
		const char *why = strerror(fault);

		tell('E', why, strlen(why));
		end(126 << 8);
	}
}

/* Also who has left the process group, as a shell's jobs do. */
static void kill_session(void)
{
	struct dirent *entry;
	DIR *proc;

	if (!session)
		return;
	killed = 1;
	kill(-session, SIGKILL);
	proc = opendir("/proc");
	while (proc && (entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name);

		if (pid > 1 && getsid(pid) == session)
			kill(pid, SIGKILL);
	}
	if (proc)
		closedir(proc);
}

static void renew(const char *given)
{
	struct {
		int bits;
		int size;
		char seed[32];
	} pool = { 256, 32, { 0 } };
	struct timespec now = { 0 };
	int64_t nanoseconds;
	int random = open("/dev/random", O_RDWR | O_CLOEXEC);

	memcpy(&nanoseconds, given, sizeof(nanoseconds));
	memcpy(pool.seed, given + sizeof(nanoseconds), sizeof(pool.seed));
	now.tv_sec = nanoseconds / 1000000000;
	now.tv_nsec = nanoseconds % 1000000000;
	clock_settime(CLOCK_REALTIME, &now);
	ioctl(random, RNDADDENTROPY, &pool);
	ioctl(random, RNDRESEEDCRNG);
	close(random);

	/* What the kernel and its driver hold of the device, every guest of this boot holds. */
	random = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);
	for (size_t drawn = 0; drawn < HWRNG_HELD;) {
		ssize_t got = read(random, pool.seed, sizeof(pool.seed));

		if (got <= 0)
			break;
		drawn += got;
	}
	close(random);
}

static void obey(char kind, char *bytes, uint32_t size)
{
	switch (kind) {
	case 'C':
		start(bytes);
		break;
	case 'I':
		if (session)
			keep(bytes, size);
		break;
	case 'K':
		kill_session();
		break;
	case 'T':
		renew(bytes);
		break;
	case 'A':
		tell('A', "", 0);
		break;
	}
}

/* Obeys every frame that is whole; a zero stands behind it, for a command. */
static void hear(void)
{
	ssize_t got = read(fds[PORT].fd, frame + framed, HEAD + CHUNK - framed);
	uint32_t size;

	if (got <= 0) {
		if (got < 0 && errno == EINTR)
			return;
		shut(PORT);	/* the host sees that: the guest is lost */
		return;
	}
	framed += got;
	while (framed >= HEAD) {
		char next;

		memcpy(&size, frame + 1, sizeof(size));
		if (framed < HEAD + size)
			break;
		next = frame[HEAD + size];
		frame[HEAD + size] = '\0';
		obey(frame[0], frame + HEAD, size);
		frame[HEAD + size] = next;
		framed -= HEAD + size;
		memmove(frame, frame + HEAD + size, framed);
	}
}

static void reap(void)
{
	int how;
	pid_t pid;

	while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
		if (pid == session) {
			ended = 1;
			status = how;
		}
	}
}

/* A command that was killed ends without those that keep its streams open. */
static void finish(void)
{
	for (int i = OUT; killed && i <= ERR; i++) {
		if (fds[i].fd != NONE)
			pass(i);
		shut(i);
	}
	if (fds[OUT].fd == NONE && fds[ERR].fd == NONE)
		end(status);
}

static void watch(void)
{
	fds[IN].events = holds || last ? POLLOUT : 0;
	if (ppoll(fds, FDS, NULL, &quiet) > 0) {
		for (int i = OUT; i <= ERR; i++)
			if (fds[i].fd != NONE && fds[i].revents)
				pass(i);
		if (fds[IN].fd != NONE && fds[IN].revents)
			feed(fds[IN].revents);
		if (fds[PORT].fd != NONE && fds[PORT].revents)
			hear();
	}
	reap();
	if (session && ended)
		finish();
}

static void child(int signal)
{
	(void)signal;	/* ends ppoll() */
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = child };
	sigset_t children;

	if (argc != 3)
		return 1;
	for (int i = 0; i < FDS; i++)
		fds[i] = (struct pollfd){ .fd = NONE, .events = POLLIN };
	fds[PORT].fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fds[PORT].fd < 0) {
		say("no port for commands (CONFIG_VIRTIO_CONSOLE): ",
		    strerror(errno));
		return getpid() == 1 ? reboot(RB_AUTOBOOT) : 1;
	}
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGCHLD, &action, NULL);
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, &quiet);
	say("ready ", argv[2]);
	for (;;)
		watch();
}
