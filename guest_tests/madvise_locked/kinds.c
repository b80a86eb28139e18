// SPDX-License-Identifier: GPL-2.0-or-later
/* Huge pages, and the mappings the new advice treats as MADV_DONTNEED does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "cases.h"
#include "ktap.h"
#include "mem.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

#define HUGE_SIZE	(2UL << 20)
#define THP_SWITCH	"/sys/kernel/mm/transparent_hugepage/enabled"

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/*
 * A huge page, locked, or NULL. Kernels switch THP off by default on guests
 * of this size, so it is switched to what the config says.
 */
static char *map_huge_locked(void)
{
	char *area, *p;

	if (!write_file(THP_SWITCH, "madvise"))
		SKIP("no " THP_SWITCH);
	area = mmap(NULL, 3 * HUGE_SIZE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(area != MAP_FAILED, "%s", strerror(errno));
	/* Aligned, with a gap on both sides. */
	p = (char *)(((uintptr_t)area + HUGE_SIZE) & -HUGE_SIZE);
	CHECK_OK(mprotect(p, HUGE_SIZE, PROT_READ | PROT_WRITE));
	CHECK_OK(madvise(p, HUGE_SIZE, MADV_HUGEPAGE));
	fill(p, 1);
	if (vma_at(p).huge != HUGE_SIZE)
		SKIP("the kernel gave no huge page");
	/* Keeps the huge page, and keeps khugepaged from making the next one. */
	CHECK_OK(madvise(p, HUGE_SIZE, MADV_NOHUGEPAGE));
	fill(p, HUGE_SIZE / page_size);
	lock_range(p, HUGE_SIZE / page_size, LOCK_MLOCK);
	return p;
}

void thp_dropped_in_part(void)
{
	size_t pages = HUGE_SIZE / page_size, part = pages / 4;
	char *p;

	need_dontneed_locked();
	p = map_huge_locked();
	CHECK_OK(drop(p + part * page_size, part));
	CHECK(vma_at(p).huge == 0, "AnonHugePages %zu", vma_at(p).huge);
	CHECK(resident(p + part * page_size, part) == 0);
	CHECK(resident(p, pages) == pages - part, "%zu", resident(p, pages));
	CHECK(only_has(p, part, FILL));
	CHECK(only_has(p + part * page_size, part, 0));
	CHECK(only_has(p + 2 * part * page_size, pages - 2 * part, FILL));
	CHECK(vma_at(p).lo);
}

void thp_dropped_as_a_whole(void)
{
	size_t pages = HUGE_SIZE / page_size;
	char *p;

	need_dontneed_locked();
	p = map_huge_locked();
	CHECK_OK(drop(p, pages));
	CHECK(vma_at(p).rss == 0, "Rss %zu", vma_at(p).rss);
	CHECK(vma_at(p).lo);
	CHECK(p[0] == 0 && p[HUGE_SIZE - 1] == 0);
}

/*
 * The two must agree on any kernel, whatever MADV_DONTNEED does there: 5.18
 * and later accept hugetlb, 5.10 does not.
 */
static void same_as_dontneed(int ret, int err, int locked_ret, int locked_err)
{
	ktap_diag("MADV_DONTNEED: %d %s", ret, ret ? strerror(err) : "");
	CHECK(locked_ret == ret, "%d, %d", locked_ret, ret);
	if (ret)
		CHECK(locked_err == err, "%s, %s", strerror(locked_err),
		      strerror(err));
}

static void compare_on(char *p, size_t pages)
{
	int ret, err, locked_ret;

	ret = dontneed(p, pages);
	err = errno;
	locked_ret = drop(p, pages);
	same_as_dontneed(ret, err, locked_ret, errno);
}

void hugetlb_treated_as_dontneed(void)
{
	size_t pages = HUGE_SIZE / page_size;
	char *p;

	write_file("/proc/sys/vm/nr_hugepages", "1");
	p = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT,
		 -1, 0);
	if (p == MAP_FAILED)
		SKIP("no hugetlb page: %s", strerror(errno));
	p[0] = FILL;
	compare_on(p, pages);
	/* mlock() is accepted there, and must not open another way in. */
	CHECK_OK(mlock(p, HUGE_SIZE));
	compare_on(p, pages);
	munmap(p, HUGE_SIZE);
	/* Not before: a dropped page must find its way back to the range. */
	write_file("/proc/sys/vm/nr_hugepages", "0");
}

/* The first page after the RAM: no memory of anybody. */
static off_t beyond_ram(void)
{
	FILE *f = fopen("/proc/iomem", "re");
	unsigned long end = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx : System RAM", &from, &to) == 2 &&
		    strstr(line, "System RAM"))
			end = to + 1;
	}
	if (f)
		fclose(f);
	return (end + page_size - 1) & -page_size;
}

static int open_dev_mem(void)
{
	int fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		SKIP("/dev/mem: %s", strerror(errno));
	return fd;
}

/* Maps page frames at a fixed place; never touched, only advised about. */
void map_page_frames_at(char *p, size_t pages)
{
	int fd = open_dev_mem();
	char *q = mmap(p, pages * page_size, PROT_READ, MAP_SHARED | MAP_FIXED,
		       fd, beyond_ram());

	if (q == MAP_FAILED)
		SKIP("mmap /dev/mem: %s", strerror(errno));
	close(fd);
}

void page_frames_treated_as_dontneed(void)
{
	char *p = map_filled(2, LOCK_NONE);

	map_page_frames_at(p, 2);
	compare_on(p, 2);
	/* Such a vma never becomes VM_LOCKED, but nothing must depend on it. */
	CHECK_OK(mlock(p, 2 * page_size));
	compare_on(p, 2);
}

static int process_madvise_self(void *p, size_t len, int advice)
{
	struct iovec iov = { .iov_base = p, .iov_len = len };
	int fd = syscall(SYS_pidfd_open, getpid(), 0);
	int ret;

	CHECK(fd >= 0, "pidfd_open: %s", strerror(errno));
	ret = syscall(SYS_process_madvise, fd, &iov, 1UL, advice, 0);
	close(fd);
	return ret;
}

void process_madvise_treated_as_dontneed(void)
{
	char *p = map_filled(2, LOCK_NONE);
	int ret = process_madvise_self(p, 2 * page_size, MADV_DONTNEED);
	int err = errno;
	int locked_ret;

	locked_ret = process_madvise_self(p, 2 * page_size,
					  MADV_DONTNEED_LOCKED);
	same_as_dontneed(ret, err, locked_ret, errno);
	/* The system call itself works: it takes the advice it always took. */
	ret = process_madvise_self(p, 2 * page_size, MADV_COLD);
	CHECK(ret == (int)(2 * page_size), "%d, %s", ret, strerror(errno));
}
