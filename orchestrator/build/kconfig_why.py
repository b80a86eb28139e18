"""Run inside the sandbox (Kconfig macros start programs): say which dependency of an option is not met.

argv: kconfiglib.py, then options. One line each: option, tab, the conditions that are off.
"""

import pathlib
import sys


def main(library: str, options: list[str]) -> None:
    """Print the unmet conditions of each option under .config of the current directory."""
    sys.path.insert(0, str(pathlib.Path(library).parent))
    import kconfiglib  # noqa: PLC0415

    kconf = kconfiglib.Kconfig("Kconfig", warn=False)
    kconf.load_config(".config")
    for option in options:
        symbol = kconf.syms.get(option)
        if symbol is None or not symbol.nodes:
            print(f"{option}\tthis tree has no such option")  # noqa: T201
            continue
        terms = kconfiglib.split_expr(symbol.direct_dep, kconfiglib.AND)
        off = [kconfiglib.expr_str(term) for term in terms if kconfiglib.expr_value(term) == 0]
        print(f"{option}\tdepends on {' && '.join(off)}" if off else f"{option}\t")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
