// SPDX-License-Identifier: GPL-2.0-or-later
/* Which part of the address space a call touches, and what it costs in vmas. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>

#include "cases.h"
#include "ktap.h"
#include "mem.h"

#define PAGES	12

static char *page_at(char *p, size_t n)
{
	return p + n * page_size;
}

void partial_range_keeps_neighbours(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK_OK(drop(page_at(p, 4), 4));
	CHECK(resident(page_at(p, 4), 4) == 0);
	CHECK(resident(p, PAGES) == PAGES - 4);
	CHECK(only_has(p, 4, FILL));
	CHECK(only_has(page_at(p, 4), 4, 0));
	CHECK(only_has(page_at(p, 8), 4, FILL));
}

void splits_no_vma(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK(vma_count(p, PAGES) == 1);
	CHECK_OK(drop(page_at(p, 4), 4));
	CHECK(vma_count(p, PAGES) == 1, "%zu", vma_count(p, PAGES));
	fill(p, PAGES);
	CHECK(vma_count(p, PAGES) == 1, "%zu", vma_count(p, PAGES));
}

/* The way around, and its price: what splits_no_vma is to be held against. */
void munlock_mlock_splits_and_merges(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK(vma_count(p, PAGES) == 1);
	CHECK_OK(munlock(page_at(p, 4), 4 * page_size));
	CHECK(vma_count(p, PAGES) == 3, "%zu", vma_count(p, PAGES));
	CHECK_OK(dontneed(page_at(p, 4), 4));
	CHECK(vma_count(p, PAGES) == 3, "%zu", vma_count(p, PAGES));
	CHECK_OK(mlock(page_at(p, 4), 4 * page_size));
	CHECK(vma_count(p, PAGES) == 1, "%zu", vma_count(p, PAGES));
}

/* Locked, unlocked and read-only vmas in a row; each keeps its flags. */
void spans_several_vmas(void)
{
	char *p = map_filled(PAGES, LOCK_NONE);

	CHECK_OK(mlock(p, 4 * page_size));
	CHECK_OK(mlock(page_at(p, 8), 4 * page_size));
	CHECK_OK(mprotect(page_at(p, 8), 4 * page_size, PROT_READ));
	CHECK(vma_count(p, PAGES) == 3);

	CHECK_OK(drop(page_at(p, 2), 8));
	CHECK(resident(p, PAGES) == 4, "%zu", resident(p, PAGES));
	CHECK(resident(page_at(p, 2), 8) == 0);
	CHECK(vma_count(p, PAGES) == 3, "%zu", vma_count(p, PAGES));
	CHECK(vma_at(p).lo);
	CHECK(!vma_at(page_at(p, 4)).lo);
	CHECK(vma_at(page_at(p, 8)).lo);
}

void no_access_range_drops(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK_OK(mprotect(p, PAGES * page_size, PROT_NONE));
	CHECK_OK(drop(p, PAGES));
	CHECK(vma_at(p).rss == 0, "%zu", vma_at(p).rss);
	CHECK(vma_at(p).lo);
	CHECK_OK(mprotect(p, PAGES * page_size, PROT_READ));
	CHECK(only_has(p, PAGES, 0));
}

void gap_gives_enomem_after_the_rest(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK_OK(munmap(page_at(p, 4), 4 * page_size));
	CHECK_ERRNO(drop(p, PAGES), ENOMEM);
	CHECK(resident(p, 4) == 0);
	CHECK(resident(page_at(p, 8), 4) == 0);
	CHECK(vma_at(p).lo);
	CHECK(vma_at(page_at(p, 8)).lo);
}

void unmapped_range_gives_enomem(void)
{
	char *p = map_filled(PAGES, LOCK_NONE);

	CHECK_OK(munmap(p, PAGES * page_size));
	CHECK_ERRNO(drop(p, PAGES), ENOMEM);
}

void unaligned_start_refused(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK_ERRNO(madvise(p + 1, page_size, MADV_DONTNEED_LOCKED), EINVAL);
	CHECK(only_has(p, PAGES, FILL));
}

void length_rounds_up_to_pages(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK_OK(madvise(p, page_size + 1, MADV_DONTNEED_LOCKED));
	CHECK(resident(p, 2) == 0);
	CHECK(resident(p, PAGES) == PAGES - 2);
}

void zero_length_does_nothing(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);

	CHECK_OK(madvise(p, 0, MADV_DONTNEED_LOCKED));
	CHECK(only_has(p, PAGES, FILL));
}

void overflowing_length_refused(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);
	size_t wraps = -(uintptr_t)p + page_size;

	CHECK_ERRNO(madvise(p, wraps, MADV_DONTNEED_LOCKED), EINVAL);
	CHECK_ERRNO(madvise(p, SIZE_MAX, MADV_DONTNEED_LOCKED), EINVAL);
	CHECK(only_has(p, PAGES, FILL));
}

/* Locks are not inherited: the child drops its own, unlocked copy. */
void child_drops_only_its_own(void)
{
	char *p = map_filled(PAGES, LOCK_MLOCK);
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		CHECK_OK(drop(p, PAGES));
		CHECK(only_has(p, PAGES, 0));
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0, "child: status %#x", status);
	CHECK(only_has(p, PAGES, FILL));
	CHECK(vma_at(p).lo);
}

#define ROUNDS	200

static volatile bool stop_faulting;

/* Pages a reader sees are whole: the old one or a zeroed one. */
static void *fault_on(void *arg)
{
	volatile const char *p = arg;
	unsigned long torn = 0;

	while (!stop_faulting) {
		for (size_t i = 0; i < PAGES; i++) {
			char c = p[i * page_size];

			torn += c != 0 && c != FILL;
		}
	}
	return (void *)torn;
}

void faults_beside_see_old_or_zero(void)
{
	char *p = map_filled(PAGES, LOCK_ONFAULT);
	pthread_t thread;
	void *torn;

	CHECK(!pthread_create(&thread, NULL, fault_on, p));
	for (int i = 0; i < ROUNDS; i++) {
		CHECK_OK(drop(p, PAGES));
		p[page_size - 1] = FILL;
		p[0] = FILL;
	}
	stop_faulting = true;
	CHECK(!pthread_join(thread, &torn));
	CHECK(!torn, "%lu", (unsigned long)torn);
	CHECK(vma_count(p, PAGES) == 1);
	CHECK(vma_at(p).lo);
}
