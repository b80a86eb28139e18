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

_EMPTIES = """\
#include <stdio.h>
#include <sys/mman.h>
int main(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int kept;

	*page = 1;
	kept = madvise(page, 4096, MADV_DONTNEED) || *page;
	printf("1..1\\n%sok 1 empties\\n", kept ? "not " : "");
	return kept;
}
"""
# The kernel's words: how large the function is, is taken from the next one's address.
_REPORTS = """\
set -- $(grep -A 1 ' do_madvise$' /proc/kallsyms)
at=do_madvise+0x10/$(printf 0x%x $((0x${4#????????} - 0x${1#????????})))
echo "<4>WARNING: CPU: 0 PID: 1 at mm/madvise.c:1 $at" >/dev/kmsg
for line in 'Call Trace:' " $at" '---[ end trace 0123456789abcdef ]---'; do echo "<4>$line" >/dev/kmsg; done
echo 1..1; echo ok 1 reports"""


def refuses(where: Path) -> Path:
    """Make one that passes on base and fails on patched; a file in /tmp of its guest says which."""
    return _program(where / "refuses", _REFUSES)


def empties(where: Path) -> Path:
    """Make one that passes on both, and runs lines that the series changes."""
    return _program(where / "empties", _EMPTIES)


def reports(where: Path) -> Path:
    """Make one on which both kernels report the same, with a call trace."""
    return _script(where / "reports", "ktap", _REPORTS)


def three(where: Path) -> Path:
    """Make one of three tests that pass."""
    program = "echo 1..3; for test in one two three; do echo ok $test; done"
    return _script(where / "three", "ktap", program)


def measured(where: Path) -> Path:
    """Make one that measures the same each time."""
    return _script(where / "measured", "bench", "echo calls 1 calls")


def _program(suite: Path, source: str) -> Path:
    suite.mkdir()
    (suite / "main.c").write_text(source)
    (suite / "suite.yaml").write_text(f"name: {suite.name}\nkind: ktap\nsources: [main.c]\n")
    return suite


def _script(suite: Path, kind: str, program: str) -> Path:
    suite.mkdir()
    (suite / suite.name).write_text(f"#!/bin/sh\n{program}\n")
    wants = f"name: {suite.name}\nkind: {kind}\nbinaries: [{suite.name}]\ncommand: sh ./{suite.name}\n"
    (suite / "suite.yaml").write_text(wants)
    return suite
