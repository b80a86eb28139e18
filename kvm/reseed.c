// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guests restored from one snapshot would draw the same random numbers. Credits
 * the 32 bytes that stand in hexadecimal in argv[1], and has the kernel's
 * generator seeded anew.
 */
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define BYTES	32

int main(int argc, char **argv)
{
	struct {
		int bits;
		int size;
		unsigned char seed[BYTES];
	} pool = { BYTES * 8, BYTES, { 0 } };
	int random = open("/dev/random", O_RDWR);

	if (argc != 2 || random < 0)
		return 1;
	for (int i = 0; i < BYTES; i++) {
		if (sscanf(argv[1] + 2 * i, "%2hhx", &pool.seed[i]) != 1)
			return 1;
	}
	return ioctl(random, RNDADDENTROPY, &pool) || ioctl(random, RNDRESEEDCRNG);
}
