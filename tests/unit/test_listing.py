"""How long lists are said."""

import pytest

from orchestrator import listing


@pytest.mark.parametrize(
    ("names", "most", "total", "said"),
    [
        ([], 3, 0, ""),
        (["a"], 3, 0, "a"),
        (["a", "b", "c"], 3, 0, "a, b, c"),
        (["a", "b", "c", "d"], 3, 0, "a, b, c and 1 more"),
        (["a", "b", "c", "d"], 3, 14, "a, b, c and 11 more"),
    ],
)
def test_so_many_are_named_and_the_rest_is_counted(names: list[str], most: int, total: int, said: str) -> None:
    assert listing.first(names, most, total) == said
