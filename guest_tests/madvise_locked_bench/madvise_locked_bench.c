// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two ways to give back the pages of a part of a locked arena:
 *
 *	munlock_mlock	munlock(), madvise(MADV_DONTNEED), mlock2()
 *	dontneed_locked	madvise(MADV_DONTNEED_LOCKED)
 *
 * The arena is locked on fault, as that of an allocator for secrets is.
 *
 * Output: "name value unit" for each sample, "# ..." for all else. On a
 * kernel without the advice there is nothing to say about the second way.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "count.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#ifdef __x86_64__
#define SYSCALL_ENTRY	"__x64_sys_"
#else
#define SYSCALL_ENTRY	"__arm64_sys_"
#endif

#define SAMPLES		10
#define ARENA_PAGES	64
#define BUFFER_PAGES	4
#define BUFFER_AT	24	/* inside, so that unlocking it splits */
#define TIMED_OPS	100
#define CONTENDED_OPS	20	/* each takes many times longer */
#define COUNTED_OPS	10
#define MAX_FAULTERS	8
#define FAULTED_PAGES	16

struct way {
	const char *name;
	void (*drop)(char *p, size_t len);
};

static size_t page_size;
static char *arena, *buffer;
static size_t buffer_len;
static unsigned long call_sites;	/* system calls made, seen from here */
static size_t peak_vmas;
static bool watch_vmas;

static void check(int ret, const char *what)
{
	if (!ret)
		return;
	printf("# %s: %s\n", what, strerror(errno));
	exit(1);
}

/* How many vmas the arena is in at this moment. */
static void note_vmas(void)
{
	unsigned long from = (unsigned long)arena;
	unsigned long to = from + ARENA_PAGES * page_size;
	FILE *f = fopen("/proc/self/maps", "re");
	char line[256];
	size_t n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			n += start < to && from < end;
	}
	if (f)
		fclose(f);
	if (n > peak_vmas)
		peak_vmas = n;
}

static void stepped(int ret, const char *what)
{
	check(ret, what);
	call_sites++;
	if (watch_vmas)
		note_vmas();
}

static void munlock_mlock(char *p, size_t len)
{
	stepped(munlock(p, len), "munlock");
	stepped(madvise(p, len, MADV_DONTNEED), "MADV_DONTNEED");
	stepped(mlock2(p, len, MLOCK_ONFAULT), "mlock2");
}

static void dontneed_locked(char *p, size_t len)
{
	stepped(madvise(p, len, MADV_DONTNEED_LOCKED), "MADV_DONTNEED_LOCKED");
}

static const struct way ways[] = {
	{ "munlock_mlock", munlock_mlock },
	{ "dontneed_locked", dontneed_locked },
};

static bool supported(const struct way *way)
{
	return way->drop != dontneed_locked ||
	       !madvise(buffer, buffer_len, MADV_DONTNEED_LOCKED);
}

static char *map(size_t pages)
{
	char *p = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p == MAP_FAILED, "mmap");
	return p;
}

static void touch(char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		((volatile char *)p)[i * page_size] = 1;
}

static void open_arena(void)
{
	page_size = sysconf(_SC_PAGESIZE);
	arena = map(ARENA_PAGES);
	check(mlock2(arena, ARENA_PAGES * page_size, MLOCK_ONFAULT), "mlock2");
	touch(arena, ARENA_PAGES);
	buffer = arena + BUFFER_AT * page_size;
	buffer_len = BUFFER_PAGES * page_size;
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

/* One operation; only dropping is timed, not touching the pages again. */
static double run_once(const struct way *way)
{
	double start, end;

	touch(buffer, BUFFER_PAGES);
	start = now_ns();
	way->drop(buffer, buffer_len);
	end = now_ns();
	return end - start;
}

static double mean_ns(const struct way *way, int ops)
{
	double sum = 0;

	for (int i = 0; i < ops; i++)
		sum += run_once(way);
	return sum / ops;
}

static volatile bool stop_faulting;

/* Page faults take mmap_lock for reading: a writer makes them wait. */
static void *fault(void *arg)
{
	char *p = arg;

	while (!stop_faulting) {
		touch(p, FAULTED_PAGES);
		madvise(p, FAULTED_PAGES * page_size, MADV_DONTNEED);
	}
	return NULL;
}

/* The ways take turns, so that what drifts drifts for both. */
static void sample_times(const char *metric, int ops)
{
	for (int s = 0; s < SAMPLES; s++) {
		for (size_t i = 0; i < 2; i++) {
			if (supported(&ways[i]))
				printf("%s.%s %.0f ns\n", ways[i].name, metric,
				       mean_ns(&ways[i], ops));
		}
	}
}

static void sample_times_beside_faults(void)
{
	/* One CPU is left to the operation, or its turn is what is measured. */
	int faulters = sysconf(_SC_NPROCESSORS_ONLN) - 1;
	pthread_t thread[MAX_FAULTERS];

	if (faulters < 1) {
		printf("# not measured: time_beside_faults_ns: one CPU only\n");
		return;
	}
	if (faulters > MAX_FAULTERS)
		faulters = MAX_FAULTERS;
	for (int i = 0; i < faulters; i++)
		check(pthread_create(&thread[i], NULL, fault,
				     map(FAULTED_PAGES)), "pthread_create");
	sample_times("time_beside_faults_ns", CONTENDED_OPS);
	stop_faulting = true;
	for (int i = 0; i < faulters; i++)
		pthread_join(thread[i], NULL);
}

static void sample_vmas(const struct way *way)
{
	watch_vmas = true;
	for (int s = 0; s < SAMPLES; s++) {
		peak_vmas = 0;
		run_once(way);
		printf("%s.vma_peak %zu vmas\n", way->name, peak_vmas);
	}
	watch_vmas = false;
}

/*
 * Prints how often each operation ran into any of the functions. False, with
 * nothing printed but why, if one of them cannot be counted.
 */
static bool sample_calls(const struct way *way, const char *metric,
			 const char *unit, const char *const *symbols)
{
	int counter[4], n = 0;
	const char *why;

	for (; symbols[n]; n++) {
		counter[n] = count_open(symbols[n], &why);
		if (counter[n] < 0) {
			printf("# not measured: %s.%s: %s: %s\n", way->name,
			       metric, symbols[n], why);
			while (n--)
				count_close(counter[n]);
			return false;
		}
	}
	for (int s = 0; s < SAMPLES; s++) {
		long sum = 0;

		for (int k = 0; k < n; k++)
			sum -= count_read(counter[k]);
		for (int i = 0; i < COUNTED_OPS; i++)
			run_once(way);
		for (int k = 0; k < n; k++)
			sum += count_read(counter[k]);
		/*
		 * Rounded: a call counts twice when an interrupt comes between
		 * its breakpoint and the step over it.
		 */
		printf("%s.%s %ld %s\n", way->name, metric,
		       (sum + COUNTED_OPS / 2) / COUNTED_OPS, unit);
	}
	while (n--)
		count_close(counter[n]);
	return true;
}

static void sample_call_sites(const struct way *way)
{
	printf("# %s.syscalls: counted where they are made\n", way->name);
	for (int s = 0; s < SAMPLES; s++) {
		call_sites = 0;
		run_once(way);
		printf("%s.syscalls %lu calls\n", way->name, call_sites);
	}
}

static void sample_counts(const struct way *way)
{
	static const char *const syscalls[] = {
		SYSCALL_ENTRY "munlock", SYSCALL_ENTRY "madvise",
		SYSCALL_ENTRY "mlock2", NULL,
	};
	/* mmap_write_lock_killable(), which all three would use, is this. */
	static const char *const write_locks[] = { "down_write_killable", NULL };
	static const char *const splits[] = { "__split_vma", NULL };

	if (!supported(way)) {
		printf("# %s: this kernel does not have the advice\n",
		       way->name);
		return;
	}
	if (!sample_calls(way, "syscalls", "calls", syscalls))
		sample_call_sites(way);
	sample_calls(way, "mmap_lock_writes", "locks", write_locks);
	sample_calls(way, "vma_splits", "splits", splits);
	sample_vmas(way);
}

/* For the counters, which belong to a CPU. */
static void stay_on_this_cpu(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	check(sched_setaffinity(0, sizeof(here), &here), "setaffinity");
}

int main(void)
{
	cpu_set_t all_cpus;

	check(sched_getaffinity(0, sizeof(all_cpus), &all_cpus), "getaffinity");
	setvbuf(stdout, NULL, _IOLBF, 0);
	open_arena();
	stay_on_this_cpu();
	for (size_t i = 0; i < 2; i++)
		sample_counts(&ways[i]);
	check(sched_setaffinity(0, sizeof(all_cpus), &all_cpus), "setaffinity");
	sample_times("time_ns", TIMED_OPS);
	sample_times_beside_faults();
	return 0;
}
