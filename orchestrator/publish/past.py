"""What the history tells, as text for a terminal; every name in it was made safe when it was kept."""

import datetime
from collections.abc import Iterable, Iterator, Sequence

from orchestrator.model import Flake, Moved, PastRun, PastSide, Sight
from orchestrator.publish.figures import counted

Story = Sequence[tuple[PastRun, Sight]]


def day(began: int) -> str:
    """When a run began, in the time of this machine."""
    return f"{datetime.datetime.fromtimestamp(began).astimezone():%Y-%m-%d %H:%M}"


def runs(found: Iterable[PastRun]) -> str:
    """A line for each run."""
    lines = [f"{day(run.began)}  {run.answer or '-':12}  {run.name}  {run.title}" for run in found]
    return "\n".join(lines) or "no run yet"


def story(suite: str, name: str, found: Story) -> str:
    """What became of one test: a summary and every run, lane by lane."""
    lanes = sorted({(sight.arch, sight.flavour) for _, sight in found})
    parts = (_of_lane(lane, [one for one in found if (one[1].arch, one[1].flavour) == lane]) for lane in lanes)
    return "\n".join([f"{suite}/{name}", *(line for part in parts for line in part)])


def _of_lane(lane: tuple[str, str], found: Story) -> Iterator[str]:
    first, last = found[0][0], next((run for run, sight in reversed(found) if sight.patched.good), None)
    yield f"{'-'.join(lane)}: {_rate([sight.base for _, sight in found])} on base, " + (
        f"{_rate([sight.patched for _, sight in found])} on patched, in {counted(len(found), 'run')}"
    )
    yield f"  first seen {day(first.began)}  {first.name}"
    yield f"  last good  {day(last.began)}  {last.name}" if last else "  last good  never"
    for run, sight in found:
        sides = f"base {_side(sight.base):14} patched {_side(sight.patched):14}"
        yield f"  {day(run.began)}  {sides} {sight.change:16} {run.name}"


def _rate(sides: Iterable[PastSide]) -> str:
    seen = list(sides)
    return f"failed {sum(side.failed for side in seen)} of {sum(side.runs for side in seen)}"


def _side(side: PastSide) -> str:
    return f"{side.outcome} {side.failed}/{side.runs}" if side.failed or side.runs > 1 else str(side.outcome)


def moved(first: PastRun, second: PastRun, found: Iterable[Moved]) -> str:
    """What came out otherwise in the second of two runs."""
    lines = [f"first   {day(first.began)}  {first.name}", f"second  {day(second.began)}  {second.name}"]
    for one in found:
        mark = "!" if one.worse else " "
        name = f"{one.arch}-{one.flavour} {one.suite}/{one.name}"
        lines.append(f"{mark} {name:60} {_sides(one.first)} -> {_sides(one.second)}")
    return "\n".join(lines if len(lines) > 2 else [*lines, "every test came out as it did"])


def _sides(state: tuple[str, str] | None) -> str:
    return f"{state[0]}|{state[1]}" if state else "not there"


def flakes(found: Iterable[Flake]) -> str:
    """Tests that both failed and passed on one image, those that fail most often first."""
    lines = [
        f"{one.rate:6.1%}  {one.failed} of {one.runs} on {counted(one.images, 'image')}  "
        f"{one.arch}-{one.flavour} {one.suite}/{one.name}"
        for one in found
    ]
    return "\n".join(lines) or "no test both failed and passed on one image"
