// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tests that fail in so many of 100 runs, whatever the kernel. The dice come
 * from the host: guests restored from one boot must not throw the same.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>

#include "ktap.h"

#define EACH	150

static void fails_in(unsigned int percent)
{
	int fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);
	unsigned int dice;

	if (fd < 0)
		SKIP("/dev/hwrng: %s", strerror(errno));
	/* 2^32 is no multiple of 100, by less than a ten millionth. */
	CHECK(read(fd, &dice, sizeof(dice)) == sizeof(dice), "%s", strerror(errno));
	CHECK(dice % 100 >= percent, "%u", dice % 100);
}

static void fails_1(void)
{
	fails_in(1);
}

static void fails_5(void)
{
	fails_in(5);
}

static void fails_20(void)
{
	fails_in(20);
}

static void fails_50(void)
{
	fails_in(50);
}

int main(int argc, char **argv)
{
	static const struct ktap_case kinds[] = {
		KTAP_CASE(fails_1), KTAP_CASE(fails_5),
		KTAP_CASE(fails_20), KTAP_CASE(fails_50),
	};
	static struct ktap_case cases[4 * EACH];
	static char names[4 * EACH][24];

	for (int i = 0; i < 4 * EACH; i++) {
		snprintf(names[i], sizeof(names[i]), "%s_%03d", kinds[i % 4].name, i / 4);
		cases[i] = (struct ktap_case){ names[i], kinds[i % 4].run };
	}
	return KTAP_RUN(cases, argc, argv);
}
