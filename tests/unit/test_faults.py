"""The fault campaign's own processes."""

import os
import subprocess
import sys

from tests.conftest import ROOT

PARENT = """\
import os, signal
from tests.faults.__main__ import workers
pool = workers()
print(*{pool.submit(os.getpid).result()}, flush=True)
pool.submit(signal.pause)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_plays_faults_ends_with_who_started_it() -> None:
    reader, writer = os.pipe()
    killed = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=writer, stdin=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.read().strip().isdecimal()  # read to the end: no worker has it open any more
    assert killed.wait() == -9
