"""Plots by matplotlib as SVG: a file of its own, or a piece of a page whose policy allows no style in attributes."""

import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

from orchestrator.publish import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY, BASE, PATCHED, BAD = "#808890", "#8c939b", "#3f83cf", "#d0453d"  # to be read on light and on dark
_ON_PAGE = {GREY: "var(--quiet)", BASE: "var(--base)", PATCHED: "var(--patched)", BAD: "var(--bad)"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "kdelta",  # the same plot is the same file
    "text.parse_math": False,  # a test may be called $x$
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GREY),
}
_OF_THE_PAGE = ("", "font", "font-size", "font-family")
_NAMESPACE = re.compile(r"\{.*\}")
_DIGITS = re.compile(r"(\.\d\d)\d+")
_REFERENCE = re.compile(r"#(\w+)")


def svg(draw: "Callable[[Figure], None]", width: float, height: float) -> bytes:
    """What `draw` puts on a figure of so many inches."""
    import matplotlib as mpl  # noqa: PLC0415  (a second to load)
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return out.getvalue()


def plain(name: str, most: int = 70) -> str:
    """A name in letters that every font has, and not too long."""
    text = clean.line(name).encode("ascii", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[: most * 4 // 7]}...{text[-(most * 3 // 7 - 3) :]}"


def inline(image: bytes, name: str) -> Markup:
    """An image of ours as an element of the report, in its colours; ids begin with `name`, which is one, too.

    What it shows stands in a table beside it: it is hidden from those who do not see it.
    """
    root = ElementTree.fromstring(image)  # noqa: S314  (our own)
    for parent in list(root.iter()):
        for child in list(parent):
            if _NAMESPACE.sub("", child.tag) in ("style", "metadata"):
                parent.remove(child)
    for element in root.iter():
        element.text, element.tail = element.text if element.tag.endswith("}text") else None, None
        element.tag = _NAMESPACE.sub("", element.tag)
        found = dict(_attributes(element.attrib, name))
        element.attrib.clear()
        element.attrib.update(found if element.tag != "g" else {key: found[key] for key in found if key != "id"})
    box = {"viewBox": root.attrib["viewBox"], "class": "plot", "aria-hidden": "true", "focusable": "false"}
    root.attrib.clear()
    root.attrib.update(box)
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704  (escaped by ElementTree)


def _attributes(given: dict[str, str], name: str) -> Iterator[tuple[str, str]]:
    """The style as attributes, which no policy forbids; the font is the page's, and nothing is turned by nothing."""
    for key, value in given.items():
        plain = _NAMESPACE.sub("", key)
        if plain == "style":
            for rule in value.split(";"):
                property_, _, setting = rule.partition(":")
                if property_.strip() not in _OF_THE_PAGE:
                    yield property_.strip(), _local(_ON_PAGE.get(setting.strip(), setting.strip()), name)
        elif not value.startswith("rotate(-0 "):
            yield plain, f"{name}-{value}" if plain == "id" else _local(value, name)


def _local(value: str, name: str) -> str:
    """References lead to the ids of this image; a hundredth of a point is fine enough."""
    value = _DIGITS.sub(r"\1", value)
    return _REFERENCE.sub(rf"#{name}-\1", value) if value.startswith(("#", "url(#")) else value
