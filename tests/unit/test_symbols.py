"""What gdb is given of a build."""

from orchestrator.build import symbols


def test_constants_that_c_wrote_are_python() -> None:
    written = b"LX_A = ((((1UL))) << (0))\nLX_B = 0x10ull | 0XFUL\nLX_name = 1\nLX_ULTRA = (7)\n"
    told: dict[str, int] = {}
    exec(symbols.python(written), told)
    assert (told["LX_A"], told["LX_B"], told["LX_name"], told["LX_ULTRA"]) == (1, 31, 1, 7)
