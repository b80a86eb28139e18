"""Consoles of both sides in, the kernel's lines that one side alone says out: told, and no verdict. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.judge import console
from orchestrator.judge.fingerprint import fold
from orchestrator.judge.splat import marks_guest
from orchestrator.model import OURS, ConsoleLine, Lane, Side, Splat

MOST_CHARACTERS = 8 << 20  # of one boot's consoles that are looked at
MOST_FORMS = 10_000  # different lines of one boot
LONGEST = 200  # characters of a line that tell it from others


@dataclass(frozen=True)
class Said:
    """A line as it stood first, and how often it came, numbers aside."""

    words: str
    times: int


Heard = Mapping[str, Said]


def heard(blocks: Iterable[str]) -> Heard:
    """Count the kernel's lines of one boot; numbers and addresses do not tell two lines apart."""
    found: dict[str, Said] = {}
    for message in _messages(blocks):
        form = fold(message)
        if form in found or len(found) < MOST_FORMS:
            before = found.get(form, Said(message, 0))
            found[form] = Said(before.words, before.times + 1)
    return found


def compare(lane: Lane, base: Sequence[Heard], patched: Sequence[Heard], reports: Iterable[Splat]) -> list[ConsoleLine]:
    """Return what no boot of the other side said, in order; a line of a report is told with that."""
    told = {*heard(f"{report.text}\n" for report in reports)}
    return [
        *_alone(lane, Side.PATCHED, patched, told.union(*base)),
        *_alone(lane, Side.BASE, base, told.union(*patched)),
    ]


def _alone(lane: Lane, side: Side, boots: Sequence[Heard], known: set[str]) -> Iterator[ConsoleLine]:
    for form in dict.fromkeys(form for boot in boots for form in boot if form not in known):
        here = [boot[form] for boot in boots if form in boot]
        times = sum(said.times for said in here)
        yield ConsoleLine(*lane, side, here[0].words, times, came=len(here), of=len(boots))


def _messages(blocks: Iterable[str]) -> Iterator[str]:
    """What the kernel said, a line each: where its lines carry the time, others are a program's."""
    room, stamped = MOST_CHARACTERS, False
    for text in console.texts(blocks):
        if room <= 0:
            return
        stamped = stamped or console.stamped(text)
        at = 0
        while at < min(len(text), room):
            records, at = console.line_at(text, at)
            for record in records:
                ours = record.message.startswith(OURS) or marks_guest(record.message)
                if record.message.strip() and not ours and (record.time is not None or not stamped):
                    yield record.message[:LONGEST].strip()
        room -= len(text)
