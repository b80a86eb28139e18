"""What pahole prints, type by type. Pure."""

import re

_TYPE = re.compile(r"^(?P<name>(?:struct|union) \w+) \{\n.*?^\}[^\n]*;\n", re.MULTILINE | re.DOTALL)
_SIZE = re.compile(r"^\t/\* size: (\d+)", re.MULTILINE)


def parse(text: str) -> dict[str, str]:
    """Cut the output into named types: "struct page" -> its text; of two with one name in a file both are kept."""
    found: dict[str, str] = {}
    for match in _TYPE.finditer(text):
        name, body = match["name"], match[0]
        found[name] = body if found.get(name, body) == body else found[name] + body
    return found


def size(text: str) -> int | None:
    """Return the bytes of the type that `text` shows."""
    found = _SIZE.search(text)
    return int(found[1]) if found else None
