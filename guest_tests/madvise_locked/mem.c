// SPDX-License-Identifier: GPL-2.0-or-later
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "ktap.h"
#include "mem.h"

#define PAGEMAP_PRESENT	(1ULL << 63)
#define PAGEMAP_SWAPPED	(1ULL << 62)

size_t page_size;

void mem_init(void)
{
	page_size = sysconf(_SC_PAGESIZE);
}

char *map_guarded(size_t pages, int prot, int flags, int fd)
{
	char *area = mmap(NULL, (pages + 2) * page_size, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *p;

	CHECK(area != MAP_FAILED, "%s", strerror(errno));
	p = mmap(area + page_size, pages * page_size, prot, flags | MAP_FIXED,
		 fd, 0);
	CHECK(p != MAP_FAILED, "%s", strerror(errno));
	return p;
}

void lock_range(char *p, size_t pages, enum lock_kind kind)
{
	switch (kind) {
	case LOCK_NONE:
	case LOCK_ALL_FUTURE:
		return;
	case LOCK_MLOCK:
		CHECK_OK(mlock(p, pages * page_size));
		return;
	case LOCK_ONFAULT:
		CHECK_OK(mlock2(p, pages * page_size, MLOCK_ONFAULT));
		return;
	case LOCK_ALL_CURRENT:
		CHECK_OK(mlockall(MCL_CURRENT));
		return;
	case LOCK_ALL_ONFAULT:
		CHECK_OK(mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
		return;
	}
}

char *map_filled(size_t pages, enum lock_kind kind)
{
	char *p;

	if (kind == LOCK_ALL_FUTURE)
		CHECK_OK(mlockall(MCL_FUTURE));
	p = map_guarded(pages, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1);
	lock_range(p, pages, kind);
	fill(p, pages);
	CHECK(vma_at(p).lo == (kind != LOCK_NONE), "not locked as asked for");
	CHECK(resident(p, pages) == pages, "%zu", resident(p, pages));
	return p;
}

void fill(char *p, size_t pages)
{
	memset(p, FILL, pages * page_size);
}

bool only_has(const char *p, size_t pages, char c)
{
	return *p == c && !memcmp(p, p + 1, pages * page_size - 1);
}

static size_t count_pagemap(const char *p, size_t pages, uint64_t bit)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t at = (uintptr_t)p / page_size * sizeof(uint64_t);
	size_t n = 0;

	CHECK(fd >= 0, "pagemap: %s", strerror(errno));
	for (size_t i = 0; i < pages; i++) {
		uint64_t entry;

		CHECK(pread(fd, &entry, sizeof(entry), at) == sizeof(entry));
		at += sizeof(entry);
		n += !!(entry & bit);
	}
	close(fd);
	return n;
}

size_t resident(const char *p, size_t pages)
{
	return count_pagemap(p, pages, PAGEMAP_PRESENT);
}

size_t in_swap(const char *p, size_t pages)
{
	return count_pagemap(p, pages, PAGEMAP_SWAPPED);
}

size_t in_core(char *p, size_t pages)
{
	unsigned char vec[pages];
	size_t n = 0;

	CHECK_OK(mincore(p, pages * page_size, vec));
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}

static void parse_smaps_line(const char *line, struct vma *v)
{
	unsigned long kb;

	if (sscanf(line, "Rss: %lu kB", &kb) == 1)
		v->rss = kb * 1024;
	else if (sscanf(line, "Locked: %lu kB", &kb) == 1)
		v->locked = kb * 1024;
	else if (sscanf(line, "Swap: %lu kB", &kb) == 1)
		v->swap = kb * 1024;
	else if (sscanf(line, "AnonHugePages: %lu kB", &kb) == 1)
		v->huge = kb * 1024;
	else if (!strncmp(line, "VmFlags:", 8))
		v->lo = strstr(line, " lo");
}

struct vma vma_at(const char *p)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long at = (unsigned long)p;
	struct vma v = { 0 };
	bool found = false;
	char line[512];

	CHECK(f, "smaps: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			if (found)
				break;
			found = start <= at && at < end;
			v.start = start;
			v.end = end;
		} else if (found) {
			parse_smaps_line(line, &v);
		}
	}
	fclose(f);
	CHECK(found, "%p is not mapped", p);
	return v;
}

size_t vma_count(const char *p, size_t pages)
{
	unsigned long from = (unsigned long)p, to = from + pages * page_size;
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	size_t n = 0;

	CHECK(f, "maps: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			n += start < to && from < end;
	}
	fclose(f);
	return n;
}

static size_t proc_field(const char *path, const char *name)
{
	FILE *f = fopen(path, "re");
	size_t len = strlen(name);
	unsigned long kb = 0;
	bool found = false;
	char line[256];

	CHECK(f, "%s: %s", path, strerror(errno));
	while (!found && fgets(line, sizeof(line), f)) {
		found = !strncmp(line, name, len) && line[len] == ':' &&
			sscanf(line + len + 1, "%lu", &kb) == 1;
	}
	fclose(f);
	CHECK(found, "no %s in %s", name, path);
	return kb * 1024;
}

size_t meminfo(const char *name)
{
	return proc_field("/proc/meminfo", name);
}

size_t own_status(const char *name)
{
	return proc_field("/proc/self/status", name);
}

void need_dontneed_locked(void)
{
	char *p = map_guarded(1, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);

	CHECK_OK(drop(p, 1));
	CHECK_OK(munmap(p - page_size, 3 * page_size));
}

int drop(char *p, size_t pages)
{
	return madvise(p, pages * page_size, MADV_DONTNEED_LOCKED);
}

int dontneed(char *p, size_t pages)
{
	return madvise(p, pages * page_size, MADV_DONTNEED);
}
