"""Benchmark output in, metrics out: lines `name value unit`, one a sample; `#` starts a diagnostic."""

import math
import re

from orchestrator.model import Metric

_LINE = re.compile(r"^([A-Za-z0-9_.:/-]{1,200})\s+([-+0-9.eE]{1,64})\s+(\S{1,40})$")


def parse(text: str, suite: str) -> tuple[tuple[Metric, ...], list[str]]:
    """Return the metrics in the order of their first sample, and the lines that are neither sample nor diagnostic."""
    samples: dict[tuple[str, str], list[float]] = {}
    strange = []
    for line in text.splitlines():
        found = _LINE.match(line.strip())
        value = _number(found[2]) if found else None
        if found and value is not None:
            samples.setdefault((found[1], found[3]), []).append(value)
        elif line.strip() and not line.lstrip().startswith("#"):
            strange.append(line)
    return tuple(Metric(suite, name, unit, tuple(values)) for (name, unit), values in samples.items()), strange


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
