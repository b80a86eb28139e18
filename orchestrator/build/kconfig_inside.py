"""Run inside the sandbox (Kconfig macros start programs), under .config of the current directory.

argv: kconfiglib.py, `why` or `enable`, then options. `why` prints for each a line: option, tab, the conditions that are
off. `enable` prints what to set, so that the options come out as y or m, as lines of a fragment.
"""

import pathlib
import sys
from collections.abc import Iterator
from typing import Any

DEPTH = 12  # of options that wait for options


def main(library: str, what: str, options: list[str]) -> None:
    """Print the answer."""
    sys.path.insert(0, str(pathlib.Path(library).parent))
    import kconfiglib  # noqa: PLC0415

    _learn(kconfiglib.Kconfig)
    kconf = kconfiglib.Kconfig("Kconfig", warn=False)
    kconf.load_config(".config")
    print("\n".join({"why": why, "enable": enable}[what](kconf, options)))  # noqa: T201


def _learn(parser: Any) -> None:
    """Teach kconfiglib 14.1 words that Kconfig has learned since: modules (in v5.16), transitional (in v6.18)."""
    known, words = parser._tokenize, {"modules": "option modules\n", "transitional": "\n"}
    parser._tokenize = lambda self, line: known(self, words.get(line.strip(), line))


def why(kconf: Any, options: list[str]) -> Iterator[str]:
    """Say of each option which conditions are off."""
    import kconfiglib  # noqa: PLC0415

    for option in options:
        symbol = kconf.syms.get(option)
        if symbol is None or not symbol.nodes:
            yield f"{option}\tthis tree has no such option"
            continue
        terms = kconfiglib.split_expr(symbol.direct_dep, kconfiglib.AND)
        off = [kconfiglib.expr_str(term) for term in terms if kconfiglib.expr_value(term) == 0]
        yield f"{option}\tdepends on {' && '.join(off)}" if off else f"{option}\t"


def enable(kconf: Any, options: list[str]) -> Iterator[str]:
    """Set each option and, first, what it waits for; what cannot be had stays out."""
    asked: list[Any] = []
    for option in options:
        if option in kconf.syms:
            _enable(kconf.syms[option], asked, 0)
    return (f"CONFIG_{symbol.name}={symbol.str_value}" for symbol in asked if symbol.str_value in ("y", "m"))


def _enable(symbol: Any, asked: list[Any], depth: int) -> None:
    import kconfiglib  # noqa: PLC0415

    if depth > DEPTH or symbol.tri_value > 0 or not symbol.nodes:
        return
    if any(node.prompt for node in symbol.nodes):
        for term in kconfiglib.split_expr(symbol.direct_dep, kconfiglib.AND):
            _satisfy(term, asked, depth)
        symbol.set_value(2)
        asked.append(symbol)
        return
    for selector in kconfiglib.split_expr(symbol.rev_dep, kconfiglib.OR):  # nobody is asked: another one selects it
        for term in kconfiglib.split_expr(selector, kconfiglib.AND):
            _satisfy(term, asked, depth)
        if symbol.tri_value > 0:
            return


def _satisfy(term: Any, asked: list[Any], depth: int) -> None:
    """Make a condition true, by the first of its alternatives that can be had."""
    import kconfiglib  # noqa: PLC0415

    for choice in kconfiglib.split_expr(term, kconfiglib.OR):
        if kconfiglib.expr_value(term) > 0:
            return
        if isinstance(choice, kconfiglib.Symbol):
            _enable(choice, asked, depth + 1)
        elif choice[0] == kconfiglib.EQUAL and choice[2].name == "y":
            _enable(choice[1], asked, depth + 1)
        elif choice[0] == kconfiglib.AND:
            for part in choice[1:]:
                _satisfy(part, asked, depth + 1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
