"""What failed on a base's image, by run; a note in the cache, which gc forgets. A run is counted once."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from kvm import disk
from orchestrator.judge import earlier
from orchestrator.judge.earlier import Failures
from orchestrator.model import GuestRun

_MOST = 200  # runs that are kept; the newest


def note(cache_dir: Path, image: str, run: str, seen: Iterable[GuestRun]) -> list[Failures]:
    """Keep what one run saw on a base's image, and return what all others did."""
    path = cache_dir / "flakes" / f"{image}.json"
    with disk.lock(cache_dir / "locks" / f"flakes-{image[:16]}"):
        others = {name: found for name, found in _read(path).items() if name != run}
        kept = others | {run: asdict(earlier.count(seen))}
        disk.write(path, json.dumps(dict(list(kept.items())[-_MOST:])))
    return [Failures(**found) for found in others.values()]


def _read(path: Path) -> dict[str, dict[str, dict[str, int]]]:
    """What stands in the file; nothing if it is damaged, for it decides nothing."""
    try:
        found = json.loads(path.read_bytes())
        return {str(name): {key: dict(one[key]) for key in ("runs", "failed")} for name, one in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
