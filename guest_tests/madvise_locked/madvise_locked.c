// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MADV_DONTNEED_LOCKED: each claim of the series is a case. Cases that depend
 * on the advice fail, and do not skip, on a kernel without it; the others
 * hold on any kernel.
 */
#define _GNU_SOURCE
#include "cases.h"
#include "ktap.h"
#include "mem.h"

#define TABLE_ROW(fn)	KTAP_CASE(fn),

static const struct ktap_case cases[] = { CASES(TABLE_ROW) };

int main(int argc, char **argv)
{
	mem_init();
	return KTAP_RUN(cases, argc, argv);
}
