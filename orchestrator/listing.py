"""How a long list is said in a sentence."""

from collections.abc import Sequence


def first(names: Sequence[str], most: int, total: int = 0) -> str:
    """`a, b and 4 more`: so many of them at most, and how many more there are, of `total` if that is greater."""
    shown = names[:most]
    more = max(len(names), total) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
