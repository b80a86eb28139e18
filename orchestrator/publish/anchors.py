"""Names for links into a report: the next report of the same run has them, too."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

R = TypeVar("R")

Named = list[tuple[str, R]]


def name(kind: str, *words: object) -> str:
    """A name made of what it names; hostile words leave no trace in it."""
    text = "\0".join(map(str, words))
    return f"{kind}-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:10]}"


def named(kind: str, records: Iterable[R], key: Callable[[R], tuple[Hashable, ...]]) -> Named[R]:
    """Each record with its name; of those that are alike in `key` the second has another one."""
    nth, found = Counter[tuple[Hashable, ...]](), []
    for record in records:
        words = key(record)
        found.append((name(kind, nth[words], *words), record))
        nth[words] += 1
    return found
