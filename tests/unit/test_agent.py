"""The agent's protocol: what it does with commands, here behind a terminal, and what we believe of what it says."""

import contextlib
import os
import pty
import select
import socket
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvm.agent import CHUNK, Agent, BrokenError, Command
from tests.conftest import ROOT

PATIENCE = 60.0


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("agent") / "agent"
    flags = "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"
    subprocess.run(["gcc", *flags, "-o", built, ROOT / "kvm" / "agent.c"], check=True)
    return built


def relay(source: int, sink: int) -> None:
    with contextlib.suppress(OSError):
        while chunk := os.read(source, CHUNK):
            while chunk:
                chunk = chunk[os.write(sink, chunk) :]


@pytest.fixture
def agent(program: Path) -> Iterator[Agent]:
    """One whose port is a terminal, as it opens a path; the terminal is a socket here."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    ours, theirs = socket.socketpair()
    running = subprocess.Popen(
        ["env", "--ignore-signal=INT,QUIT,USR1", program, os.ttyname(slave), "n0"], start_new_session=True
    )
    threads = [
        threading.Thread(target=relay, args=ends) for ends in ((master, theirs.fileno()), (theirs.fileno(), master))
    ]
    for thread in threads:
        thread.start()
    yield Agent(ours)
    running.kill()
    running.wait()
    os.close(slave)
    ours.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    os.close(master)
    theirs.close()
    ours.close()


def follow(agent: Agent, command: Command, reached: Callable[[], bool]) -> None:
    while not reached():
        assert select.select([agent.fd], [], [], PATIENCE)[0], "the agent says nothing"
        command.step()


def run(agent: Agent, words: str, stdin: bytes = b"", limit: int = 1 << 24) -> Command:
    command = Command(agent, stdin, limit)
    command.start(words)
    follow(agent, command, lambda: command.ended)
    return command


def test_streams_come_apart_and_byte_exact_with_the_status(agent: Agent) -> None:
    done = run(agent, r"printf 'a\000\377'; printf 'b\n' >&2; exit 37")
    assert (bytes(done.stdout), bytes(done.stderr), done.status) == (b"a\0\xff", b"b\n", 37)


def test_a_death_by_signal_is_told_as_a_shell_tells_it(agent: Agent) -> None:
    assert run(agent, "kill -9 $$").status == 137


def test_more_stdin_than_fits_on_the_way_comes_back_whole(agent: Agent) -> None:
    given = os.urandom(20 * CHUNK + 1)
    assert bytes(run(agent, "cat", given).stdout) == given


def test_stdin_that_nobody_reads_is_gone_and_the_next_command_gets_its_own(agent: Agent) -> None:
    assert run(agent, "exit 4", b"x" * (8 * CHUNK)).status == 4
    assert run(agent, "exec <&-; echo x; sleep 0.1", b"x" * (8 * CHUNK)).stdout == b"x\n"
    assert run(agent, "cat", b"mine").stdout == b"mine"


def test_a_flood_is_cut_at_the_limit_and_takes_no_more_memory(agent: Agent) -> None:
    done = run(agent, "head -c 5000000 /dev/zero; echo end >&2", limit=1000)
    assert (len(done.stdout), done.truncated, bytes(done.stderr)) == (1000, True, b"end\n")


@pytest.mark.parametrize("words", ["while :; do echo flood; done", "cat >/dev/null; sleep 4322", "sleep 4322 & exit 0"])
def test_a_kill_gets_through_to_a_command_that_floods_or_reads_nothing(agent: Agent, words: str) -> None:
    command = Command(agent, b"x" * (8 * CHUNK), 1000)
    command.start(f"{words}; sleep 4322")
    follow(agent, command, lambda: command.started)
    command.kill()
    follow(agent, command, lambda: command.ended)
    assert run(agent, "echo next").stdout == b"next\n"


def test_a_kill_takes_the_jobs_of_a_shell_along_and_waits_for_nobody_who_left(agent: Agent, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = Command(agent, b"", 1000)
    leaves = f"setsid sh -c 'echo $$ >{pids}; exec sleep 4323' & while [ ! -s {pids} ]; do sleep 0.01; done"
    command.start(f"{leaves}; set -m; sleep 4323 & echo $! >>{pids}; echo up; wait")
    follow(agent, command, lambda: command.stdout == b"up\n")
    command.kill()
    follow(agent, command, lambda: command.ended)
    left, job = map(int, pids.read_text().split())
    assert run(agent, f"ps -o stat= -p {job}").stdout[:1] in (b"", b"Z")
    os.kill(left, 9)


def test_a_kill_of_nothing_is_no_fault(agent: Agent) -> None:
    done = run(agent, "true")
    done.kill()
    assert run(agent, "echo x").stdout == b"x\n"


# 32 and 33: no libc lets a program set them, so that they are as whoever started the tests left them.
LIBC_SIGNALS = 0b11 << 31


def test_a_command_has_a_session_of_its_own_and_signals_as_a_shell_gives_them(agent: Agent) -> None:
    sid, pid = run(agent, "ps -o sid= -p $$; echo $$").stdout.split()
    assert sid == pid
    masks = run(agent, "grep -E '^Sig(Blk|Ign)' /proc/self/status").stdout.split()[1::2]
    assert [int(mask, 16) & ~LIBC_SIGNALS for mask in masks] == [0, 0]


FORGED = {
    "a frame without an end": b"O\xff\xff\xff\x7f",
    "an unknown kind": b"Q\0\0\0\0",
    "a number that is none": b"X\x01\0\0\0x",
    "more stdin taken than was given": b"W\x04\0\0\0\x01\0\0\0",
    "words behind the end": b"X\x04\0\0\0\0\0\0\0O\x01\0\0\0x",
}


@pytest.mark.parametrize("said", FORGED)
def test_what_no_agent_says_breaks_the_connection(said: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = Command(Agent(ours), b"", 1000)
        command.start("true")
        theirs.send(b"O\x02\0\0\0hi" + FORGED[said])
        with pytest.raises(BrokenError):
            command.step()
        assert command.said() == b"hi"


def test_an_agent_that_reads_nothing_does_not_block_us() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(BrokenError, match="takes nothing"):
        for _ in range(100):
            Command(Agent(ours), b"x" * CHUNK, 1000).start("true")
