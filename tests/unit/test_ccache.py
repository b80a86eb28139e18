"""What ccache's own log says, and what is said of the time that it saved."""

from orchestrator.build import ccache
from orchestrator.build.ccache import Use

STATS = """\
# /dev/null
direct_cache_hit
local_storage_hit
# /src/mm/madvise.c
cache_miss
direct_cache_miss
# /src/mm/mmap.c
direct_cache_hit
#\x20
called_for_link
# -
preprocessed_cache_hit
# /src/mm/mlock.c
preprocessed_cache_hit
"""


def test_compilations_of_nothing_with_which_kbuild_tries_the_compiler_do_not_count() -> None:
    assert ccache.read(STATS) == (2, 3)
    assert ccache.read("") == (0, 0)


def test_what_was_saved_is_what_a_build_without_hits_would_cost_less_what_this_one_did() -> None:
    known = [Use(0, 1000, 400.0), Use(40, 500, 250.0), Use(1000, 1000, 25.0)]
    assert Use(1000, 1000, 25.0).saved(iter(known)) == 375.0
    assert Use(97, 110, 19.0).saved(iter(known)) == 25.0


def test_nothing_is_saved_where_nothing_was_answered_or_all_else_costs_more() -> None:
    assert Use(0, 10, 9.0).saved(iter([])) == 0.0
    assert Use(3, 4, 8.0).saved(iter([Use(0, 1000, 400.0)])) == 0.0


def test_what_is_not_known_is_not_guessed_from_less() -> None:
    assert Use(20, 20, 1.0).saved(iter([])) is None
    assert Use(20, 20, 1.0).saved(iter([Use(0, 10, 5.0), Use(90, 100, 9.0)])) is None
