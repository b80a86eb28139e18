"""What Dask runs on a worker: it has a process forked that does the errand, passes on what that says, and ends it."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kvm import proc
from kvm.errors import Error, InfraError, Interrupted, UserError
from orchestrator.cluster.forks import Fork, Forks

OURS = "kdelta"  # the attribute of Dask's worker that holds its Forks, and what its topics begin with
ERRAND = "errand"  # whose words they are
_LOOK_SECONDS = 0.5  # how soon an errand that nobody wants any more is ended
_END_SECONDS = 20.0  # for guests and makes that are told to end
_FAULTS = {fault.__name__: fault for fault in (UserError, InfraError)}

Words = dict[str, Any]


class Unwanted(InfraError):
    """Whoever asked for it does so no more, or this worker has lost its scheduler."""


def perform(url: str, digest: str, name: str) -> Words:
    """Do an errand, in a thread of a worker, which outlives it; a fault of the machine is raised, to be tried again."""
    from distributed import Reschedule, get_worker  # noqa: PLC0415

    worker = get_worker()
    key, forks = worker.get_current_task(), getattr(worker, OURS)

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return worker.status.name == "running" and task is not None and task.state == "executing"

    try:
        return do(
            forks,
            [url, digest, name],
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


def do(forks: Forks, errand: Sequence[str], tell: Callable[[Words], None], is_wanted: Callable[[], bool]) -> Words:
    """Run the process of an errand to its end, or end it; returns its last words."""
    last: Words = {}
    with tempfile.TemporaryFile("w+b") as complaints, _started(forks, errand, complaints.fileno()) as (process, said):
        for words in _lines(said, is_wanted):
            if "told" in words or "fault" in words:
                last = words
            else:
                tell(words)
        process.wait(_END_SECONDS)
        complaints.seek(0)
        complaint = complaints.read()[-2000:].decode("utf-8", "replace")
    if not last:
        raise InfraError(f"the process of an errand ended: {complaint or 'without a word'}")
    if isinstance(why := fault(last), InfraError):
        raise why
    return last


@contextlib.contextmanager
def _started(forks: Forks, errand: Sequence[str], complaints: int) -> Iterator[tuple[Fork, int]]:
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        try:
            process = stack.enter_context(forks.start(errand, theirs, complaints, _END_SECONDS))
        finally:
            os.close(theirs)
        yield process, ours


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
