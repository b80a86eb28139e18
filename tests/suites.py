"""Suites for whole runs of the bundled series."""

from pathlib import Path

_REFUSES = """\
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
int main(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int refused = mlock(page, 4096) || madvise(page, 4096, 24 /* MADV_DONTNEED_LOCKED */);

	creat(refused ? "/tmp/refused" : "/tmp/dropped", 0600);
	printf("1..1\\n%sok 1 refuses\\n", refused ? "" : "not ");
	return !refused;
}
"""


def refuses(where: Path) -> Path:
    """Make one that passes on base and fails on patched; a file in /tmp of its guest says which."""
    suite = where / "refuses"
    suite.mkdir()
    (suite / "main.c").write_text(_REFUSES)
    (suite / "suite.yaml").write_text("name: refuses\nkind: ktap\nsources: [main.c]\n")
    return suite


def three(where: Path) -> Path:
    """Make one of three tests that pass."""
    program = "echo 1..3; for test in one two three; do echo ok $test; done"
    return _script(where / "three", "ktap", program)


def measured(where: Path) -> Path:
    """Make one that measures the same each time."""
    return _script(where / "measured", "bench", "echo calls 1 calls")


def _script(suite: Path, kind: str, program: str) -> Path:
    suite.mkdir()
    (suite / suite.name).write_text(f"#!/bin/sh\n{program}\n")
    wants = f"name: {suite.name}\nkind: {kind}\nbinaries: [{suite.name}]\ncommand: sh ./{suite.name}\n"
    (suite / "suite.yaml").write_text(wants)
    return suite
