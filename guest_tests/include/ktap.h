/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ktap.h - write KTAP version 1 from a table of cases.
 *
 *	static void adds(void)
 *	{
 *		CHECK(1 + 1 == 2, "got %d", 1 + 1);
 *	}
 *
 *	static const struct ktap_case cases[] = { KTAP_CASE(adds) };
 *
 *	int main(int argc, char **argv)
 *	{
 *		return KTAP_RUN(cases, argc, argv);
 *	}
 *
 * A case passes by returning. Each one runs in a child of its own, under an
 * alarm: a crash or a hang costs that case only. Names given on the command
 * line select cases; --list prints all names, one a line.
 *
 * Each line is one write(2): nothing is lost in a buffer when the kernel
 * under test dies, and no two processes share a line.
 *
 * Where KDELTA_TEST names the program, the kernel's log says of each case
 * that it runs: what the kernel reports there has a cause. A case that taints
 * the kernel says so.
 *
 * Include it after defining _GNU_SOURCE.
 */
#ifndef KTAP_H
#define KTAP_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Generous: a hang is the exception, a loaded host is not. On a slow kernel or
 * an emulated CPU, KDELTA_SCALE in the environment multiplies it.
 */
#ifndef KTAP_SECONDS
#define KTAP_SECONDS	5
#endif

#define KTAP_FAIL_STATUS	1
#define KTAP_SKIP_STATUS	4

struct ktap_case {
	const char *name;
	void (*run)(void);
};

#define KTAP_CASE(fn)	{ #fn, fn }

#define KTAP_RUN(cases, argc, argv) \
	ktap_run(cases, sizeof(cases) / sizeof((cases)[0]), argc, argv)

/* Fails the case, with the place, the condition and the printf arguments. */
#define CHECK(cond, ...)						\
	do {								\
		if (!(cond)) {						\
			ktap_diag("%s:%d: not true: %s", __FILE__,	\
				  __LINE__, #cond);			\
			ktap_diag("  " __VA_ARGS__);			\
			_exit(KTAP_FAIL_STATUS);			\
		}							\
	} while (0)

/* Fails the case unless @call returns -1 and sets errno to @err. */
#define CHECK_ERRNO(call, err)						\
	do {								\
		long ktap_ret;						\
									\
		errno = 0;						\
		ktap_ret = (long)(call);				\
		CHECK(ktap_ret == -1 && errno == (err),			\
		      "%s: returned %ld, %s; wanted -1, %s", #call,	\
		      ktap_ret, strerror(errno), strerror(err));	\
	} while (0)

/* Fails the case unless @call returns 0. */
#define CHECK_OK(call)							\
	do {								\
		long ktap_ret = (long)(call);				\
									\
		CHECK(ktap_ret == 0, "%s: returned %ld, %s", #call,	\
		      ktap_ret, strerror(errno));			\
	} while (0)

/* Ends the case: it could not be tested, and why. */
#define SKIP(...)	ktap_skip(__VA_ARGS__)

/*
 * Weak, so that a suite of several files has one copy. Shared with the
 * children, because only the parent writes result lines.
 */
__attribute__((weak)) char *ktap_skip_reason;

#define KTAP_REASON_MAX	200

__attribute__((format(printf, 2, 0)))
static inline void ktap_vline(const char *prefix, const char *fmt, va_list ap)
{
	char line[512];
	size_t len = strlen(prefix);
	size_t room = sizeof(line) - 1;	/* keeps one byte for the newline */
	int n;

	memcpy(line, prefix, len);
	n = vsnprintf(line + len, room - len, fmt, ap);
	if (n > 0)
		len += (size_t)n < room - len ? (size_t)n : room - len - 1;
	line[len++] = '\n';
	/* A reader that went away is no reason to fail a case. */
	if (write(STDOUT_FILENO, line, len) < 0)
		return;
}

__attribute__((format(printf, 1, 2)))
static inline void ktap_line(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ktap_vline("", fmt, ap);
	va_end(ap);
}

/* A diagnostic line; blank ones are dropped. */
__attribute__((format(printf, 1, 2)))
static inline void ktap_diag(const char *fmt, ...)
{
	va_list ap;

	if (!fmt[strspn(fmt, " ")])
		return;
	va_start(ap, fmt);
	ktap_vline("# ", fmt, ap);
	va_end(ap);
}

__attribute__((format(printf, 1, 2), noreturn))
static inline void ktap_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ktap_skip_reason, KTAP_REASON_MAX, fmt, ap);
	va_end(ap);
	_exit(KTAP_SKIP_STATUS);
}

static inline bool ktap_selected(const struct ktap_case *c, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], c->name))
			return true;
	}
	return argc < 2;
}

static inline unsigned int ktap_seconds(void)
{
	const char *scale = getenv("KDELTA_SCALE");
	double seconds = KTAP_SECONDS * (scale ? atof(scale) : 1.0);

	return seconds < 1 ? 1 : (unsigned int)seconds;
}

static inline void ktap_announce(const char *name)
{
	const char *program = getenv("KDELTA_TEST");
	int kmsg = program ? open("/dev/kmsg", O_WRONLY | O_CLOEXEC) : -1;
	char line[512];

	if (kmsg < 0)
		return;
	/* Not dprintf(3), which seeks, and to here nobody can. */
	snprintf(line, sizeof(line), "<5>kdelta: %s runs %s\n", program, name);
	if (write(kmsg, line, strlen(line)) < 0)
		ktap_diag("the kernel's log: %s", strerror(errno));
	close(kmsg);
}

/* Returns the kernel's taint flags; 0 where it does not tell. */
static inline unsigned long ktap_taint(void)
{
	char flags[24] = "";
	int fd = open("/proc/sys/kernel/tainted", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, flags, sizeof(flags) - 1) < 0)
		flags[0] = '\0';
	close(fd);
	return strtoul(flags, NULL, 10);
}

/* Returns the wait status of the case's process. */
static inline int ktap_run_in_child(const struct ktap_case *c)
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0) {
		ktap_line("Bail out! fork: %s", strerror(errno));
		exit(KTAP_FAIL_STATUS);
	}
	if (!pid) {
		setpgid(0, 0);
		signal(SIGALRM, SIG_DFL);
		alarm(ktap_seconds());
		c->run();
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	/* Processes the case left behind must not disturb the next one. */
	kill(-pid, SIGKILL);
	return status;
}

/* Returns the same, with what the kernel is told and tells. */
static inline int ktap_run_watched(const struct ktap_case *c)
{
	unsigned long before = ktap_taint(), after;
	int status;

	ktap_announce(c->name);
	status = ktap_run_in_child(c);
	after = ktap_taint();
	if (after != before)
		ktap_diag("%s: tainted the kernel: %lu, before it %lu", c->name,
			  after, before);
	return status;
}

/* Returns whether the case counts as failed. */
static inline bool ktap_report(int number, const char *name, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		ktap_line("ok %d %s", number, name);
		return false;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == KTAP_SKIP_STATUS) {
		ktap_line("ok %d %s # SKIP %s", number, name, ktap_skip_reason);
		return false;
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
		ktap_line("not ok %d %s # TIMEOUT no end after %u s", number, name,
			  ktap_seconds());
		return true;
	}
	if (WIFSIGNALED(status))
		ktap_diag("%s: SIG%s (%s)", name,
			  sigabbrev_np(WTERMSIG(status)),
			  strsignal(WTERMSIG(status)));
	ktap_line("not ok %d %s", number, name);
	return true;
}

/* Returns the exit status of the suite: 0, or 1 when a case failed. */
static inline int ktap_run(const struct ktap_case *cases, size_t count,
			   int argc, char **argv)
{
	int planned = 0, number = 0, failed = 0;

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (size_t i = 0; i < count; i++)
			ktap_line("%s", cases[i].name);
		return 0;
	}
	ktap_skip_reason = mmap(NULL, KTAP_REASON_MAX, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ktap_skip_reason == MAP_FAILED) {
		ktap_line("Bail out! mmap: %s", strerror(errno));
		return KTAP_FAIL_STATUS;
	}
	for (size_t i = 0; i < count; i++)
		planned += ktap_selected(&cases[i], argc, argv);

	ktap_line("KTAP version 1");
	ktap_line("1..%d", planned);
	for (size_t i = 0; i < count; i++) {
		if (!ktap_selected(&cases[i], argc, argv))
			continue;
		/* Whoever reads a log that ends here knows what was running. */
		ktap_diag("run %s", cases[i].name);
		failed += ktap_report(++number, cases[i].name,
				      ktap_run_watched(&cases[i]));
	}
	return failed ? KTAP_FAIL_STATUS : 0;
}

#endif /* KTAP_H */
