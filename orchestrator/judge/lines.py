"""Consoles of both sides in, the lines that one kernel alone says, or far more often, out: told, no verdict. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.judge import console
from orchestrator.judge.fingerprint import fold
from orchestrator.judge.splat import marks_guest
from orchestrator.model import OURS, ConsoleLine, Lane, Side, Splat

MOST_CHARACTERS = 8 << 20  # of one boot's consoles that are looked at
MOST_FORMS = 10_000  # different lines of one boot
LONGEST = 200  # characters of a line that tell it from others
HANDFUL = 5  # more or fewer of a line are no news


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
    """Return what no boot of the other side said so often, in order; a line of a report is told with that."""
    told = {*heard(f"{report.text}\n" for report in reports)}
    before, after = ([_without(told, boot) for boot in boots] for boots in (base, patched))
    return [*_more(lane, Side.PATCHED, after, before), *_more(lane, Side.BASE, before, after)]


def _without(told: set[str], boot: Heard) -> Heard:
    return {form: said for form, said in boot.items() if form not in told}


def _more(lane: Lane, side: Side, here: Sequence[Heard], there: Sequence[Heard]) -> Iterator[ConsoleLine]:
    for form in dict.fromkeys(form for boot in here for form in boot):
        elsewhere = max((boot[form].times for boot in there if form in boot), default=0)
        more = [boot[form] for boot in here if form in boot and _news(boot[form].times, elsewhere)]
        if more:
            times = sum(said.times for said in more)
            yield ConsoleLine(*lane, side, more[0].words, times, len(more), len(here), elsewhere)


def _news(times: int, elsewhere: int) -> bool:
    """Is that more than boots of one kernel differ by? The first time it comes at all always is."""
    return not elsewhere or times > max(2 * elsewhere, elsewhere + HANDFUL)


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
