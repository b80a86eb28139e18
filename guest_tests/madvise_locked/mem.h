/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes mappings, and tells what the kernel says about them. */
#ifndef MEM_H
#define MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

/* How a range came to be VM_LOCKED. */
enum lock_kind {
	LOCK_NONE,
	LOCK_MLOCK,
	LOCK_ONFAULT,		/* mlock2(MLOCK_ONFAULT) */
	LOCK_ALL_CURRENT,	/* mlockall(MCL_CURRENT) */
	LOCK_ALL_FUTURE,	/* mlockall(MCL_FUTURE) */
	LOCK_ALL_ONFAULT,	/* mlockall(... | MCL_ONFAULT) */
};

/* What smaps says about one vma. Sizes in bytes. */
struct vma {
	unsigned long start, end;
	size_t rss, locked, swap, huge;
	bool lo;		/* VM_LOCKED */
};

extern size_t page_size;

void mem_init(void);

/*
 * Between two PROT_NONE pages, so that no neighbour merges with it and its
 * line in /proc/self/maps tells its own story. Untouched.
 */
char *map_guarded(size_t pages, int prot, int flags, int fd);

/* Guarded, private, anonymous, locked in that way, filled with FILL. */
char *map_filled(size_t pages, enum lock_kind kind);

#define FILL	0x5a

void lock_range(char *p, size_t pages, enum lock_kind kind);
void fill(char *p, size_t pages);
bool only_has(const char *p, size_t pages, char c);

/* Present in the page tables (not: in the page cache, or on swap). */
size_t resident(const char *p, size_t pages);
size_t in_swap(const char *p, size_t pages);

/* By mincore(): in memory, whether mapped or not. */
size_t in_core(char *p, size_t pages);

struct vma vma_at(const char *p);
size_t vma_count(const char *p, size_t pages);

/* A field of /proc/meminfo or /proc/self/status, in bytes. */
size_t meminfo(const char *name);
size_t own_status(const char *name);

/* Fails the case on a kernel without the advice. */
void need_dontneed_locked(void);

int drop(char *p, size_t pages);	/* madvise(MADV_DONTNEED_LOCKED) */
int dontneed(char *p, size_t pages);	/* madvise(MADV_DONTNEED) */

#endif /* MEM_H */
