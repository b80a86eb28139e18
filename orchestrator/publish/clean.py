"""Makes text from guests, tests and mails safe to show: nothing in it can move a cursor, or hide or reorder words."""

import re
import unicodedata

_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erase
    # OSC, DCS, SOS, PM, APC up to their terminator; never over a line's end, or one sequence could hide a whole log
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f\n]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]+[0-~]"  # character sets
    r"|\x1b[0-Z\\^-~]"  # one letter: reset, save cursor
)
_LINE_END = re.compile(r"(?<!\r)\r++\n")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format (bidi, zero width), surrogate, separators


class _Visible(dict[int, str]):
    """What stands for each code point; filled as code points are met."""

    def __missing__(self, code: int) -> str:
        self[code] = shown = _visible(code)
        return shown


def _visible(code: int) -> str:
    """One code point as something to see."""
    if unicodedata.category(chr(code)) not in _HIDDEN:
        return chr(code)
    if code < 0x20 or code == 0x7F:
        return f"^{chr(code ^ 0x40)}"  # as `cat -v` writes it
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"<U+{code:04X}>"


_LINES = _Visible({ord("\n"): "\n", ord("\t"): "\t"})
_LINE = _Visible()


def printable(text: str) -> str:
    """The text without terminal escapes, every other control and bidi character made visible; keeps lines and tabs."""
    if text.isprintable():  # most names and words are, and a report has hundreds of thousands
        return text
    return _LINE_END.sub("\n", _ESCAPE.sub("", text)).translate(_LINES)


def line(text: str) -> str:
    """The same for what must stay on one line, such as a test's name."""
    return printable(text).translate(_LINE)
