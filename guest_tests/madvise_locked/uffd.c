// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ranges watched by userfaultfd. The event goes out with mmap_lock dropped,
 * and what was true of the range before may no longer be true after it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "cases.h"
#include "ktap.h"
#include "mem.h"

#define PAGES	4

struct advised {
	pthread_t thread;
	char *p;
	int advice;
	int ret, err;
};

static int open_uffd(unsigned long long features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		SKIP("userfaultfd: %s", strerror(errno));
	CHECK_OK(ioctl(fd, UFFDIO_API, &api));
	return fd;
}

static void watch(int fd, char *p)
{
	struct uffdio_register reg = {
		.range = { .start = (unsigned long)p, .len = PAGES * page_size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	CHECK_OK(ioctl(fd, UFFDIO_REGISTER, &reg));
}

static void *advise(void *arg)
{
	struct advised *a = arg;

	a->ret = madvise(a->p, PAGES * page_size, a->advice);
	a->err = errno;
	return NULL;
}

static void start_advice(struct advised *a, char *p, int advice)
{
	*a = (struct advised){ .p = p, .advice = advice };
	CHECK(!pthread_create(&a->thread, NULL, advise, a));
}

/* Waits until a message can be read, or the call returned without one. */
static bool message_waits(int fd, struct advised *a)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	while (!poll(&pfd, 1, 5)) {
		if (!pthread_tryjoin_np(a->thread, NULL)) {
			a->thread = 0;
			return poll(&pfd, 1, 0) > 0;
		}
	}
	return true;
}

static struct uffd_msg read_message(int fd)
{
	struct uffd_msg msg;

	CHECK(read(fd, &msg, sizeof(msg)) == sizeof(msg), "%s",
	      strerror(errno));
	return msg;
}

static void read_remove_event(int fd, char *p)
{
	struct uffd_msg msg = read_message(fd);

	CHECK(msg.event == UFFD_EVENT_REMOVE, "event %#x", msg.event);
	CHECK(msg.arg.remove.start == (unsigned long)p);
	CHECK(msg.arg.remove.end == (unsigned long)p + PAGES * page_size);
}

static void end_advice(struct advised *a)
{
	if (a->thread)
		CHECK(!pthread_join(a->thread, NULL));
}

/*
 * Starts the advice on a watched range; once its event waits to be read, and
 * mmap_lock is free, changes the range; then lets the advice go on.
 */
static struct advised advise_while(char *p, int advice, void (*change)(char *))
{
	int fd = open_uffd(UFFD_FEATURE_EVENT_REMOVE);
	struct advised a;

	watch(fd, p);
	start_advice(&a, p, advice);
	if (message_waits(fd, &a)) {
		if (change)
			change(p);
		read_remove_event(fd, p);
	} else {
		ktap_diag("no event");
	}
	end_advice(&a);
	close(fd);
	return a;
}

static void now_locked(char *p)
{
	lock_range(p, PAGES, LOCK_MLOCK);
}

static void now_unmapped(char *p)
{
	CHECK_OK(munmap(p, PAGES * page_size));
}

static void now_page_frames(char *p)
{
	map_page_frames_at(p, PAGES);
}

void uffd_gets_remove_event(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);
	int fd = open_uffd(UFFD_FEATURE_EVENT_REMOVE);
	struct advised a;

	watch(fd, p);
	start_advice(&a, p, MADV_DONTNEED_LOCKED);
	CHECK(message_waits(fd, &a), "returned %d without an event", a.ret);
	read_remove_event(fd, p);
	end_advice(&a);
	CHECK(a.ret == 0, "%s", strerror(a.err));
	CHECK(resident(p, PAGES) == 0);
	CHECK(vma_at(p).lo);
}

static void *touch(void *arg)
{
	return (void *)(long)*(volatile char *)arg;
}

/* A dropped page is missing again: its next touch is the manager's to fill. */
void uffd_fills_dropped_page(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);
	char *page = map_filled(1, LOCK_NONE);
	struct uffdio_copy copy = {
		.dst = (unsigned long)p, .src = (unsigned long)page,
		.len = page_size,
	};
	int fd = open_uffd(0);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	pthread_t thread;
	void *seen;

	watch(fd, p);
	CHECK_OK(drop(p, PAGES));
	memset(page, 'u', page_size);
	CHECK(!pthread_create(&thread, NULL, touch, p));
	CHECK(poll(&pfd, 1, 10000) == 1, "no fault");
	CHECK(read_message(fd).event == UFFD_EVENT_PAGEFAULT);
	CHECK_OK(ioctl(fd, UFFDIO_COPY, &copy));
	CHECK(!pthread_join(thread, &seen));
	CHECK((long)seen == 'u', "%#lx", (long)seen);
	CHECK(vma_at(p).lo);
	CHECK(vma_at(p).locked == page_size, "%zu", vma_at(p).locked);
}

void uffd_dontneed_refuses_locked_meanwhile(void)
{
	char *p = map_filled(PAGES, LOCK_NONE);
	struct advised a = advise_while(p, MADV_DONTNEED, now_locked);

	CHECK(a.ret == -1 && a.err == EINVAL, "%d, %s", a.ret, strerror(a.err));
	CHECK(only_has(p, PAGES, FILL));
}

void uffd_drops_locked_meanwhile(void)
{
	char *p = map_filled(PAGES, LOCK_NONE);
	struct advised a = advise_while(p, MADV_DONTNEED_LOCKED, now_locked);

	CHECK(a.ret == 0, "%d, %s", a.ret, strerror(a.err));
	CHECK(resident(p, PAGES) == 0);
	CHECK(vma_at(p).lo);
}

void uffd_unmapped_meanwhile_gives_enomem(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);
	struct advised a = advise_while(p, MADV_DONTNEED_LOCKED, now_unmapped);

	CHECK(a.ret == -1 && a.err == ENOMEM, "%d, %s", a.ret, strerror(a.err));
}

void uffd_page_frames_meanwhile_refused(void)
{
	struct advised a;
	char *p;

	/* Without the advice EINVAL would come from the first look already. */
	need_dontneed_locked();
	p = map_filled(PAGES, LOCK_MLOCK);
	a = advise_while(p, MADV_DONTNEED_LOCKED, now_page_frames);
	CHECK(a.ret == -1 && a.err == EINVAL, "%d, %s", a.ret, strerror(a.err));
}
