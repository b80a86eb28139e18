"""How long what runs in a guest took before, so that the longest goes first; a note in the cache, which gc forgets."""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

from kvm import disk

_MOST = 20_000  # names that are kept; the newest


@dataclass
class Durations:
    """Seconds by the name of what ran, for one architecture."""

    path: Path
    _known: dict[str, float] = field(default_factory=dict)
    _new: dict[str, float] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, name: str, otherwise: float) -> float:
        """Return how long it took the last time; `otherwise` if nobody knows."""
        return self._known.get(name, otherwise)

    def note(self, name: str, seconds: float) -> None:
        """Remember how long it took."""
        with self._guard:
            self._new[name] = round(seconds, 3)

    def save(self) -> None:
        """Put what is new to what others have noted meanwhile."""
        if not self._new:
            return
        with disk.lock(self.path.parent.parent / "locks" / f"durations-{self.path.stem}"):
            whole = {name: value for name, value in _read(self.path).items() if name not in self._new} | self._new
            disk.write(self.path, json.dumps(dict(list(whole.items())[-_MOST:]), indent=0))


def of(cache_dir: Path, arch: str) -> Durations:
    """Read what is known of one architecture."""
    path = cache_dir / "durations" / f"{arch}.json"
    return Durations(path, _read(path))


def _read(path: Path) -> dict[str, float]:
    """What stands in the file; nothing if it is damaged, for it is worth no more than a better order."""
    try:
        found = json.loads(path.read_bytes())
        return {name: float(seconds) for name, seconds in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
