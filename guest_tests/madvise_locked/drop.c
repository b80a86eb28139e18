// SPDX-License-Identifier: GPL-2.0-or-later
/* The new advice drops the pages and keeps the lock. */
#define _GNU_SOURCE
#include <fcntl.h>

#include "cases.h"
#include "ktap.h"
#include "mem.h"

#define PAGES	8

/* All windows the kernel has on a range agree that it is empty. */
static void check_empty(char *p, bool locked)
{
	struct vma v = vma_at(p);

	CHECK(resident(p, PAGES) == 0, "%zu", resident(p, PAGES));
	CHECK(in_swap(p, PAGES) == 0, "%zu", in_swap(p, PAGES));
	CHECK(in_core(p, PAGES) == 0, "%zu", in_core(p, PAGES));
	CHECK(v.rss == 0, "Rss %zu", v.rss);
	CHECK(v.locked == 0, "Locked %zu", v.locked);
	CHECK(v.lo == locked, "lo %d", v.lo);
	CHECK(v.end - v.start == PAGES * page_size);
}

static void drops(enum lock_kind kind)
{
	char *p = map_filled(PAGES, kind);
	bool locked = kind != LOCK_NONE;

	CHECK_OK(drop(p, PAGES));
	check_empty(p, locked);

	/* Reading or writing brings a zeroed page, and the lock with it. */
	CHECK(p[0] == 0);
	p[page_size] = 1;
	CHECK(resident(p, PAGES) == 2, "%zu", resident(p, PAGES));
	/* What was only read is the shared zero page, which Rss leaves out. */
	CHECK(vma_at(p).rss == page_size, "Rss %zu", vma_at(p).rss);
	CHECK(vma_at(p).lo == locked);

	/* And again: nothing of the first time sticks. */
	CHECK_OK(drop(p, PAGES));
	check_empty(p, locked);
}

void drops_mlock(void)
{
	drops(LOCK_MLOCK);
}

void drops_mlock_onfault(void)
{
	drops(LOCK_ONFAULT);
}

void drops_mlockall_current(void)
{
	drops(LOCK_ALL_CURRENT);
}

void drops_mlockall_future(void)
{
	drops(LOCK_ALL_FUTURE);
}

void drops_mlockall_onfault(void)
{
	drops(LOCK_ALL_ONFAULT);
}

void drops_unlocked(void)
{
	drops(LOCK_NONE);
}

void reads_back_zeroes(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK_OK(drop(p, PAGES));
	CHECK(only_has(p, PAGES, 0));
}

static int file_of(size_t pages, char c)
{
	char path[] = "/tmp/madvise_locked.XXXXXX";
	int fd = mkstemp(path);
	char buf[page_size];

	CHECK(fd >= 0, "mkstemp %s: %s", path, strerror(errno));
	unlink(path);
	memset(buf, c, page_size);
	for (size_t i = 0; i < pages; i++)
		CHECK(write(fd, buf, page_size) == (ssize_t)page_size);
	return fd;
}

void private_file_reads_back_file(void)
{
	int fd = file_of(PAGES, 'f');
	char *p = map_guarded(PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);

	lock_range(p, PAGES, LOCK_MLOCK);
	fill(p, PAGES);
	CHECK_OK(drop(p, PAGES));
	CHECK(resident(p, PAGES) == 0);
	CHECK(only_has(p, PAGES, 'f'));
	CHECK(vma_at(p).lo);
}

/* The pages of a file are the file's: only the mapping lets go of them. */
void shared_file_keeps_content(void)
{
	int fd = file_of(PAGES, 'f');
	char *p = map_guarded(PAGES, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	char buf[page_size];

	lock_range(p, PAGES, LOCK_MLOCK);
	fill(p, PAGES);
	CHECK_OK(drop(p, PAGES));
	CHECK(resident(p, PAGES) == 0);
	CHECK(pread(fd, buf, page_size, 0) == (ssize_t)page_size);
	CHECK(only_has(buf, 1, FILL));
	CHECK(only_has(p, PAGES, FILL));
}

void shared_anonymous_keeps_content(void)
{
	char *p = map_guarded(PAGES, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1);

	lock_range(p, PAGES, LOCK_ONFAULT);
	fill(p, PAGES);
	CHECK_OK(drop(p, PAGES));
	CHECK(resident(p, PAGES) == 0);
	CHECK(vma_at(p).lo);
	CHECK(only_has(p, PAGES, FILL));
	CHECK(vma_at(p).locked > 0);
}

/* A fault brings in the page that was touched and no other. */
static void stays_empty(enum lock_kind kind)
{
	char *p = map_filled(PAGES, kind);

	CHECK_OK(drop(p, PAGES));
	p[3 * page_size] = 1;
	CHECK(resident(p, PAGES) == 1, "%zu", resident(p, PAGES));
	CHECK(resident(p + 3 * page_size, 1) == 1);
}

void does_not_repopulate_onfault(void)
{
	stays_empty(LOCK_ONFAULT);
	stays_empty(LOCK_ALL_ONFAULT);
}

void does_not_repopulate_mlock(void)
{
	stays_empty(LOCK_MLOCK);
}

void locked_again_after_touch(void)
{
	char *p = map_filled(PAGES, LOCK_ONFAULT);

	CHECK_OK(drop(p, PAGES));
	fill(p, 3);
	CHECK(vma_at(p).locked == 3 * page_size, "%zu", vma_at(p).locked);
	CHECK(vma_at(p).lo);
	/* Locked enough to be refused again. */
	CHECK_ERRNO(dontneed(p, PAGES), EINVAL);
	CHECK_ERRNO(madvise(p, PAGES * page_size, MADV_PAGEOUT), EINVAL);
}

/*
 * VM_LOCKONFAULT has no letter in smaps. Growing a mapping tells it: the new
 * part is populated under mlock() and is not under MLOCK_ONFAULT.
 */
static size_t resident_in_grown_part(enum lock_kind kind)
{
	char *p = map_filled(PAGES, kind);
	char *q;

	CHECK_OK(drop(p, PAGES));
	q = mremap(p, PAGES * page_size, 2 * PAGES * page_size, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED, "%s", strerror(errno));
	CHECK(vma_at(q).lo);
	return resident(q + PAGES * page_size, PAGES);
}

void keeps_lock_flavour(void)
{
	size_t n = resident_in_grown_part(LOCK_ONFAULT);

	CHECK(n == 0, "on fault: %zu", n);
	n = resident_in_grown_part(LOCK_MLOCK);
	CHECK(n == PAGES, "mlock: %zu", n);
}

/* RLIMIT_MEMLOCK counts the range, not the pages in it. */
void keeps_memlock_accounting(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);
	size_t before = own_status("VmLck");

	CHECK_OK(drop(p, PAGES));
	CHECK(own_status("VmLck") == before, "%zu, %zu before",
	      own_status("VmLck"), before);
	CHECK_OK(munlock(p, PAGES * page_size));
	CHECK(own_status("VmLck") == before - PAGES * page_size);
}

#define COUNTED_PAGES	512
/* Less than half of what is locked, more than the CPUs' batches hold. */
#define SLACK_PAGES	100

/* In pages. Folds the per-CPU counters into the global ones first. */
static long mlocked_now(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		/* Best effort: mlocked_is() polls as well. */
		if (write(fd, "1", 1) < 0)
			ktap_diag("stat_refresh: %s", strerror(errno));
		close(fd);
	}
	return meminfo("Mlocked") / page_size;
}

static bool mlocked_is(long pages)
{
	for (int i = 0; i < 100; i++) {
		if (labs(mlocked_now() - pages) < SLACK_PAGES)
			return true;
		usleep(10000);
	}
	ktap_diag("Mlocked: %ld pages, waited for %ld", mlocked_now(), pages);
	return false;
}

void mlocked_counter_returns(void)
{
	long before;
	char *p;

	need_dontneed_locked();
	before = mlocked_now();
	p = map_filled(COUNTED_PAGES, LOCK_MLOCK);
	CHECK(mlocked_is(before + COUNTED_PAGES));
	CHECK_OK(drop(p, COUNTED_PAGES));
	CHECK(mlocked_is(before));
	fill(p, COUNTED_PAGES);
	CHECK(mlocked_is(before + COUNTED_PAGES));
	CHECK_OK(drop(p, COUNTED_PAGES));
	CHECK(mlocked_is(before));
}
