"""Benchmark output in, metrics out: lines `name value unit`, one a sample; `#` starts a diagnostic."""

import math
import re

from orchestrator.model import Metric
from orchestrator.trial.kinds import lines
from orchestrator.trial.kinds.parsed import Parsed

_LINE = re.compile(r"([A-Za-z0-9_.:/-]{1,200})\s+([-+0-9.eE]{1,64})\s+(\S{1,40})$")
_SHOWN = 3  # strange lines that a fault quotes


def parse(text: str, suite: str, repeat: int = 0) -> Parsed:
    """Return the metrics in the order of their first sample; lines that are neither sample nor diagnostic are a fault.

    A line without its end is strange, too: half a number is another number.
    """
    samples: dict[tuple[str, str], list[float]] = {}
    strange: list[str] = []
    for line in lines.whole(text):
        words = line.strip()
        found = _LINE.match(words)
        value = number(found[2]) if found else None
        if found and value is not None:
            samples.setdefault((found[1], found[3]), []).append(value)
        elif words and not words.startswith("#"):
            strange.append(words)
    if (rest := lines.cut(text).strip()) and not rest.startswith("#"):
        strange.append(rest)
    metrics = (Metric(suite, name, unit, tuple(values)) for (name, unit), values in samples.items())
    return Parsed(metrics=tuple(metrics), faults=_faults(strange) if samples or strange else ("it gave no sample",))


def number(text: str) -> float | None:
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _faults(strange: list[str]) -> tuple[str, ...]:
    if not strange:
        return ()
    shown = "; ".join(line[:80] for line in strange[:_SHOWN])
    return (f"{len(strange)} lines are no samples: {shown}",)
