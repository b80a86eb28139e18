"""What Dask runs on a worker: it starts the process that does the errand, passes on what that says, and ends it."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kvm import proc
from kvm.errors import Error, InfraError, Interrupted, UserError
from kvm.proc import Process

OURS = "kdelta"  # the attribute of Dask's worker that holds a Kit, and what its topics begin with
ERRAND = "errand"  # whose words they are
_LOOK_SECONDS = 0.5  # how soon an errand that nobody wants any more is ended
_END_SECONDS = 20.0  # for guests and makes that are told to end
_FAULTS = {fault.__name__: fault for fault in (UserError, InfraError)}

Words = dict[str, Any]


@dataclass(frozen=True)
class Kit:
    """What a worker does errands with: the command that does one, before store and errand."""

    argv: Sequence[str]


class Unwanted(InfraError):
    """Whoever asked for it does so no more, or this worker has lost its scheduler."""


def perform(url: str, digest: str, name: str) -> Words:
    """Do an errand, in a thread of a worker, which outlives it; a fault of the machine is raised, to be tried again."""
    from distributed import Reschedule, get_worker  # noqa: PLC0415

    worker = get_worker()
    key, kit = worker.get_current_task(), getattr(worker, OURS)

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return worker.status.name == "running" and task is not None and task.state == "executing"

    try:
        return do(
            [*kit.argv, url, digest, name],
            lambda words: worker.log_event(topic(name), {**words, ERRAND: name}),
            is_wanted,
        )
    except Interrupted as stopped:
        raise Reschedule from stopped  # it is this worker that ends


def topic(name: str) -> str:
    """Under which word the scheduler passes on what is said of an errand; it forgets no topic, so there are but few."""
    return f"{OURS}-{name[0]}"


def fault(told: Words) -> Error | None:
    """Return whose fault it is that an errand came to nothing."""
    if "fault" not in told:
        return None
    kind, message, hint = told["fault"]
    return _FAULTS[kind](message, hint=hint)


def do(argv: Sequence[str], tell: Callable[[Words], None], is_wanted: Callable[[], bool]) -> Words:
    """Run the process of an errand to its end, or end it; returns its last words."""
    last: Words = {}
    with tempfile.TemporaryFile("w+b") as complaints, _started(argv, complaints.fileno()) as (process, said):
        for words in _lines(said, is_wanted):
            if "told" in words or "fault" in words:
                last = words
            else:
                tell(words)
        process.wait(_END_SECONDS)
        complaints.seek(0)
        complaint = complaints.read()[-2000:].decode("utf-8", "replace")
    if not last:
        raise InfraError(f"the process of an errand ended with {process.returncode}: {complaint or 'no word'}")
    if isinstance(why := fault(last), InfraError):
        raise why
    return last


@contextlib.contextmanager
def _started(argv: Sequence[str], complaints: int) -> Iterator[tuple[Process, int]]:
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        # its guests die with it, and it with this thread
        with proc.spawn(["setpriv", "--pdeathsig", "TERM", *argv], stdout=theirs, stderr=complaints) as process:
            os.close(theirs)
            try:
                yield process, ours
            finally:
                process.end(grace=_END_SECONDS)
    finally:
        os.close(ours)


def _lines(said: int, is_wanted: Callable[[], bool]) -> Iterator[Words]:
    """What the process says, to the end of it; raises Unwanted when that is wanted no more."""
    rest = b""
    while True:
        if not is_wanted():
            raise Unwanted("nobody wants this errand any more")
        if not proc.wait_readable([said], _LOOK_SECONDS):
            continue
        piece = os.read(said, 1 << 20)
        if not piece:
            return
        *whole, rest = (rest + piece).split(b"\n")
        yield from map(json.loads, whole)
