"""Files that travel in the report, compressed, as links that save them: they need no script and no other file."""

import base64
import gzip
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 1 << 20  # of all of them, as the report holds them
MOST_READ = 64 << 20  # of one file


@dataclass(frozen=True)
class Attachment:
    """One file: the name it is saved under, what it is linked with, its size in the report."""

    name: str
    href: str
    size: int


class Bag:
    """The room that one report has for files: first come, first held."""

    def __init__(self, room: int) -> None:
        self._room = room

    def hold(self, path: Path | None, name: str) -> Attachment | None:
        """The file, if it is there and there is room."""
        if path is None or path.stat().st_size > MOST_READ:
            return None
        held = packed(path.read_bytes())
        if len(held) > self._room:
            return None
        self._room -= len(held)
        return Attachment(f"{name}.gz", f"data:application/gzip;base64,{held}", len(held))


def packed(content: bytes) -> str:
    """Compress it, in letters that stand in any attribute."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
