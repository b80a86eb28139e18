/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All cases, in the order they run. */
#ifndef CASES_H
#define CASES_H

#include <stddef.h>

#define CASES(X)					\
	/* refuse.c */					\
	X(dontneed_refuses_mlock)			\
	X(dontneed_refuses_mlock_onfault)		\
	X(dontneed_refuses_mlockall_current)		\
	X(dontneed_refuses_mlockall_future)		\
	X(dontneed_refuses_mlockall_onfault)		\
	X(dontneed_refuses_shared_mlock)		\
	X(dontneed_stops_at_locked_part)		\
	X(dontneed_drops_unlocked)			\
	X(dontneed_drops_after_munlock)			\
	X(free_refuses_locked)				\
	X(remove_refuses_locked)			\
	X(cold_and_pageout_refuse_locked)		\
	X(unknown_advice_refused)			\
	/* drop.c */					\
	X(drops_mlock)					\
	X(drops_mlock_onfault)				\
	X(drops_mlockall_current)			\
	X(drops_mlockall_future)			\
	X(drops_mlockall_onfault)			\
	X(drops_unlocked)				\
	X(reads_back_zeroes)				\
	X(private_file_reads_back_file)			\
	X(shared_file_keeps_content)			\
	X(shared_anonymous_keeps_content)		\
	X(does_not_repopulate_onfault)			\
	X(does_not_repopulate_mlock)			\
	X(locked_again_after_touch)			\
	X(keeps_lock_flavour)				\
	X(keeps_memlock_accounting)			\
	X(mlocked_counter_returns)			\
	/* range.c */					\
	X(partial_range_keeps_neighbours)		\
	X(splits_no_vma)				\
	X(munlock_mlock_splits_and_merges)		\
	X(spans_several_vmas)				\
	X(no_access_range_drops)			\
	X(gap_gives_enomem_after_the_rest)		\
	X(unmapped_range_gives_enomem)			\
	X(unaligned_start_refused)			\
	X(length_rounds_up_to_pages)			\
	X(zero_length_does_nothing)			\
	X(overflowing_length_refused)			\
	X(child_drops_only_its_own)			\
	X(faults_beside_see_old_or_zero)		\
	/* kinds.c */					\
	X(thp_dropped_in_part)				\
	X(thp_dropped_as_a_whole)			\
	X(hugetlb_treated_as_dontneed)			\
	X(page_frames_treated_as_dontneed)		\
	X(process_madvise_treated_as_dontneed)		\
	/* uffd.c */					\
	X(uffd_gets_remove_event)			\
	X(uffd_fills_dropped_page)			\
	X(uffd_dontneed_refuses_locked_meanwhile)	\
	X(uffd_drops_locked_meanwhile)			\
	X(uffd_unmapped_meanwhile_gives_enomem)		\
	X(uffd_page_frames_meanwhile_refused)		\
	/* secret.c */					\
	X(secret_freed_never_comes_back)		\
	X(secret_freed_stays_out_of_swap)		\
	X(secret_locked_stays_out_of_swap)

#define DECLARE_CASE(fn)	void fn(void);
CASES(DECLARE_CASE)

/* kinds.c; skips the case where there is no /dev/mem. */
void map_page_frames_at(char *p, size_t pages);

#endif /* CASES_H */
