/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts how often a CPU runs into a function of the kernel. */
#ifndef COUNT_H
#define COUNT_H

/*
 * A counter on @symbol for the CPU the caller is on, where it must stay: arm64
 * has no breakpoints in the kernel for a single thread. Or -1 with a reason in *@why: no such symbol, no
 * hardware breakpoints, not allowed.
 */
int count_open(const char *symbol, const char **why);
unsigned long long count_read(int counter);
void count_close(int counter);

#endif /* COUNT_H */
