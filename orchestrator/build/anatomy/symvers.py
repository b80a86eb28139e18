"""Exported symbols, from Module.symvers or from the words of the sources. Pure."""

import re

from orchestrator.build.anatomy.facts import Export

_NO_CRC = "0x00000000"  # without CONFIG_MODVERSIONS
_IN_SOURCE = re.compile(
    r"^[ \t]*(EXPORT_SYMBOL(?:_NS)?(?:_GPL)?)\s*\(\s*(\w+)\s*(?:,\s*\"?([\w.]+)\"?\s*)?\)", re.MULTILINE
)


def parse(text: str) -> dict[str, Export]:
    """Read lines of CRC, symbol, module, kind, namespace; symbol -> Export."""
    found = {}
    for line in text.splitlines():
        fields = [*line.split("\t"), "", ""]
        if len(fields) < 6:
            continue
        crc, symbol, module, kind, namespace = fields[:5]
        if not kind.startswith("EXPORT"):  # v5.3 and v5.4 wrote the namespace before the module
            namespace, module, kind = module, kind, namespace
        found[symbol] = Export(kind, module, "" if crc == _NO_CRC else crc, namespace)
    return found


def in_source(path: str, text: str) -> dict[str, Export]:
    """Find EXPORT_SYMBOL and its variants in a C file; what a macro builds is not seen."""
    return {
        symbol: Export(kind.replace("_NS", ""), path, "", namespace)
        for kind, symbol, namespace in _IN_SOURCE.findall(text)
    }
