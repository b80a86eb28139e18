// SPDX-License-Identifier: GPL-2.0-or-later
/* What locked memory refuses, as it did before there was the new advice. */
#define _GNU_SOURCE
#include "cases.h"
#include "ktap.h"
#include "mem.h"

#define PAGES	8

static void refuses(int advice, enum lock_kind kind)
{
	char *p = map_filled(PAGES, kind);

	CHECK_ERRNO(madvise(p, PAGES * page_size, advice), EINVAL);
	CHECK(resident(p, PAGES) == PAGES, "%zu", resident(p, PAGES));
	CHECK(only_has(p, PAGES, FILL));
	CHECK(vma_at(p).lo);
}

void dontneed_refuses_mlock(void)
{
	refuses(MADV_DONTNEED, LOCK_MLOCK);
}

void dontneed_refuses_mlock_onfault(void)
{
	refuses(MADV_DONTNEED, LOCK_ONFAULT);
}

void dontneed_refuses_mlockall_current(void)
{
	refuses(MADV_DONTNEED, LOCK_ALL_CURRENT);
}

void dontneed_refuses_mlockall_future(void)
{
	refuses(MADV_DONTNEED, LOCK_ALL_FUTURE);
}

void dontneed_refuses_mlockall_onfault(void)
{
	refuses(MADV_DONTNEED, LOCK_ALL_ONFAULT);
}

void dontneed_refuses_shared_mlock(void)
{
	char *p = map_guarded(PAGES, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1);

	fill(p, PAGES);
	lock_range(p, PAGES, LOCK_MLOCK);
	CHECK_ERRNO(dontneed(p, PAGES), EINVAL);
	CHECK(resident(p, PAGES) == PAGES, "%zu", resident(p, PAGES));
}

/* What lies ahead of the locked part is dropped before the call fails. */
void dontneed_stops_at_locked_part(void)
{
	char *p = map_filled(PAGES, LOCK_NONE);

	CHECK_OK(mlock(p + 4 * page_size, 2 * page_size));
	CHECK_ERRNO(dontneed(p, PAGES), EINVAL);
	CHECK(resident(p, 4) == 0, "%zu", resident(p, 4));
	CHECK(resident(p + 4 * page_size, 4) == 4);
}

void dontneed_drops_unlocked(void)
{
	char *p = map_filled(PAGES, LOCK_NONE);

	CHECK_OK(dontneed(p, PAGES));
	CHECK(resident(p, PAGES) == 0);
	CHECK(only_has(p, PAGES, 0));
}

void dontneed_drops_after_munlock(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK_OK(munlock(p, PAGES * page_size));
	CHECK_OK(dontneed(p, PAGES));
	CHECK(resident(p, PAGES) == 0);
	CHECK_OK(mlock(p, PAGES * page_size));
	CHECK(only_has(p, PAGES, 0));
}

void free_refuses_locked(void)
{
	refuses(MADV_FREE, LOCK_MLOCK);
	refuses(MADV_FREE, LOCK_ONFAULT);
	refuses(MADV_FREE, LOCK_ALL_ONFAULT);
}

static void remove_refuses(enum lock_kind kind)
{
	int fd = memfd_create("remove", MFD_CLOEXEC);
	char *p;

	CHECK(fd >= 0, "memfd: %s", strerror(errno));
	CHECK_OK(ftruncate(fd, PAGES * page_size));
	p = map_guarded(PAGES, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	fill(p, PAGES);
	lock_range(p, PAGES, kind);
	CHECK_ERRNO(madvise(p, PAGES * page_size, MADV_REMOVE), EINVAL);
	CHECK(only_has(p, PAGES, FILL));
	CHECK_OK(munlock(p, PAGES * page_size));
	CHECK_OK(madvise(p, PAGES * page_size, MADV_REMOVE));
	CHECK(only_has(p, PAGES, 0));
}

void remove_refuses_locked(void)
{
	remove_refuses(LOCK_MLOCK);
	remove_refuses(LOCK_ONFAULT);
}

void cold_and_pageout_refuse_locked(void)
{
	refuses(MADV_COLD, LOCK_MLOCK);
	refuses(MADV_PAGEOUT, LOCK_MLOCK);
	refuses(MADV_COLD, LOCK_ONFAULT);
	refuses(MADV_PAGEOUT, LOCK_ONFAULT);
}

/* No value became valid by accident on the way to the new one. */
void unknown_advice_refused(void)
{
	char *p = map_filled(PAGES, LOCK_NONE);

	CHECK_ERRNO(madvise(p, PAGES * page_size, 0x7fff), EINVAL);
	CHECK_ERRNO(madvise(p, PAGES * page_size, -1), EINVAL);
	CHECK_ERRNO(madvise(p, PAGES * page_size, MADV_DONTNEED_LOCKED + 0x100),
		    EINVAL);
	CHECK(only_has(p, PAGES, FILL));
}
