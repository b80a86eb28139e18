// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The use the advice was made for: an allocator for secrets whose arena is
 * locked for good, and which gives a freed buffer's pages back at once.
 */
#define _GNU_SOURCE
#include <fcntl.h>

#include "cases.h"
#include "ktap.h"
#include "mem.h"

#define SWAP_DEVICE	"/dev/vda"
#define ARENA_PAGES	64
#define BUFFER_PAGES	16
#define FILLER_PAGES	1024
#define MARK_SIZE	16
#define CODE		0x55

/*
 * What a marked page starts with. Decoded at run time, so that the only pages
 * which start with a mark are the ones a case wrote.
 */
static const unsigned char coded_secret[MARK_SIZE + 1] =
	"\x26\x30\x36\x27\x30\x21\x7b\x3a\x33\x7b\x3e\x31\x30\x39\x21\x34";
static const unsigned char coded_filler[MARK_SIZE + 1] =
	"\x33\x3c\x39\x39\x30\x27\x7b\x3a\x33\x7b\x3e\x31\x30\x39\x21\x34";

static void mark(char *p, size_t pages, const unsigned char *coded)
{
	for (size_t i = 0; i < pages; i++) {
		for (size_t k = 0; k < MARK_SIZE; k++)
			p[i * page_size + k] = coded[k] ^ CODE;
	}
}

static bool is_marked(const char *p, const unsigned char *coded)
{
	for (size_t k = 0; k < MARK_SIZE; k++) {
		if (p[k] != (char)(coded[k] ^ CODE))
			return false;
	}
	return true;
}

static bool all_marked(const char *p, size_t pages, const unsigned char *coded)
{
	for (size_t i = 0; i < pages; i++) {
		if (!is_marked(p + i * page_size, coded))
			return false;
	}
	return true;
}

static void need_swap(void)
{
	FILE *f = fopen("/proc/swaps", "re");
	char line[256];
	int lines = 0;

	while (f && fgets(line, sizeof(line), f))
		lines++;
	if (f)
		fclose(f);
	if (lines < 2)
		SKIP("/proc/swaps is empty");
}

static long min_free_kbytes(long set)
{
	FILE *f = fopen("/proc/sys/vm/min_free_kbytes", set ? "we" : "re");
	long kb = set;

	CHECK(f, "min_free_kbytes: %s", strerror(errno));
	if (set)
		fprintf(f, "%ld", set);
	else
		CHECK(fscanf(f, "%ld", &kb) == 1);
	fclose(f);
	return kb;
}

/*
 * Runs @work while the kernel believes it is short of memory: kswapd wakes as
 * soon as the low watermark, 5/4 of the lowest one, is not met. Nothing is
 * used up and no allocation fails. In a child, so that the watermark is put
 * back however @work ends.
 */
static void under_pressure(void (*work)(void))
{
	long before = min_free_kbytes(0);
	int status;
	pid_t pid;

	min_free_kbytes(meminfo("MemFree") / 1024 * 4 / 5);
	pid = fork();
	if (!pid) {
		work();
		_exit(0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		status = WEXITSTATUS(status);
	else
		status = KTAP_FAIL_STATUS;
	min_free_kbytes(before);
	if (status)
		_exit(status);
}

/* Ordinary memory with a mark of its own, pushed out to swap. */
static char *swap_out_filler(void)
{
	char *p = map_guarded(FILLER_PAGES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mark(p, FILLER_PAGES, coded_filler);
	for (int i = 0; i < 100 && in_swap(p, FILLER_PAGES) < FILLER_PAGES / 2;
	     i++) {
		CHECK_OK(madvise(p, FILLER_PAGES * page_size, MADV_PAGEOUT));
		if (i)
			usleep(10000);
	}
	CHECK(in_swap(p, FILLER_PAGES) >= FILLER_PAGES / 2, "%zu in swap",
	      in_swap(p, FILLER_PAGES));
	return p;
}

/* How many pages of the swap device start with each of the marks. */
static void scan_swap(size_t *secrets, size_t *fillers)
{
	size_t chunk = 1 << 20;
	char *buf = mmap(NULL, chunk, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Around the page cache, as swapping itself goes. */
	int fd = open(SWAP_DEVICE, O_RDONLY | O_DIRECT | O_CLOEXEC);
	ssize_t n;

	CHECK(buf != MAP_FAILED);
	if (fd < 0)
		SKIP(SWAP_DEVICE ": %s", strerror(errno));
	*secrets = *fillers = 0;
	while ((n = read(fd, buf, chunk)) > 0) {
		for (ssize_t at = 0; at < n; at += page_size) {
			*secrets += is_marked(buf + at, coded_secret);
			*fillers += is_marked(buf + at, coded_filler);
		}
	}
	CHECK(n == 0, "%s", strerror(errno));
	/* No trace of the device's content stays for a later scan to find. */
	memset(buf, 0, chunk);
	munmap(buf, chunk);
	close(fd);
}

static char *open_arena(void)
{
	char *p = map_guarded(ARENA_PAGES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);

	lock_range(p, ARENA_PAGES, LOCK_ONFAULT);
	return p;
}

/* Each buffer of the arena: zeroed when taken, intact when used, gone when freed. */
static void use_arena_once(char *arena)
{
	for (size_t i = 0; i < ARENA_PAGES; i += BUFFER_PAGES) {
		char *buf = arena + i * page_size;

		CHECK(only_has(buf, BUFFER_PAGES, 0), "a buffer is not empty");
		mark(buf, BUFFER_PAGES, coded_secret);
	}
	for (size_t i = 0; i < ARENA_PAGES; i += BUFFER_PAGES) {
		char *buf = arena + i * page_size;

		CHECK(resident(buf, BUFFER_PAGES) == BUFFER_PAGES);
		CHECK(all_marked(buf, BUFFER_PAGES, coded_secret));
		CHECK_OK(drop(buf, BUFFER_PAGES));
		CHECK(resident(buf, BUFFER_PAGES) == 0);
		CHECK(in_swap(buf, BUFFER_PAGES) == 0);
	}
	CHECK(vma_count(arena, ARENA_PAGES) == 1);
}

static void reuse_arena(void)
{
	char *arena = open_arena();

	for (int round = 0; round < 4; round++) {
		char *filler = swap_out_filler();

		use_arena_once(arena);
		CHECK_OK(munmap(filler, FILLER_PAGES * page_size));
	}
	CHECK(only_has(arena, ARENA_PAGES, 0));
	CHECK(vma_at(arena).lo);
}

void secret_freed_never_comes_back(void)
{
	need_dontneed_locked();
	need_swap();
	under_pressure(reuse_arena);
}

/* Finding the filler shows that the search would have found a secret. */
static void check_swap_device(void)
{
	size_t secrets, fillers;

	scan_swap(&secrets, &fillers);
	CHECK(fillers > 0, "the search finds nothing at all");
	CHECK(secrets == 0, "%zu pages", secrets);
}

static void free_secrets(void)
{
	char *arena = open_arena();

	use_arena_once(arena);
	swap_out_filler();
	use_arena_once(arena);
	check_swap_device();
}

void secret_freed_stays_out_of_swap(void)
{
	need_dontneed_locked();
	need_swap();
	under_pressure(free_secrets);
}

static void keep_secrets(void)
{
	char *arena = open_arena();

	mark(arena, ARENA_PAGES, coded_secret);
	swap_out_filler();
	CHECK(resident(arena, ARENA_PAGES) == ARENA_PAGES);
	CHECK(all_marked(arena, ARENA_PAGES, coded_secret));
	check_swap_device();
}

void secret_locked_stays_out_of_swap(void)
{
	need_swap();
	under_pressure(keep_secrets);
}
