"""JUnit XML, as CI servers read it: a suite of each lane is a testsuite, what counts against the series a failure.

Its elements are those of junit-10.xsd, which Jenkins' xUnit plugin publishes.
"""

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from orchestrator.model import Run
from orchestrator.publish import clean, digest, excerpt
from orchestrator.publish.excerpt import Shelf
from orchestrator.publish.formats import cases
from orchestrator.publish.formats.cases import Case, Standing

# Those that XML 1.0 has no way to write and that `clean` leaves alone.
_REFUSED = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ROOM = 4 << 20  # characters of guests' words in one file
_TAGS = {
    Standing.AGAINST: "failure",
    Standing.UNSURE: "error",
    Standing.ASIDE: "skipped",  # not green: it fails; not red: not by the series
    Standing.UNTESTED: "skipped",
}


def write(run: Run) -> str:
    """The whole run as one XML file."""
    top, shelf = Element("testsuites", name=_safe(run.series.title)), Shelf(_ROOM)
    for some in digest.merged(cases.of(run), lambda case: (case.lane, case.group)):
        top.append(_suite(run, some, shelf))
    _count(top, [case for suite in top for case in suite])
    del top.attrib["skipped"]  # which junit-10.xsd knows of a suite alone
    indent(top)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(top, encoding="unicode")}\n'


def _suite(run: Run, some: list[Case], shelf: Shelf) -> Element:
    name = "/".join(part for part in (some[0].lane, some[0].group) if part)
    suite = Element("testsuite", name=_safe(name), timestamp=run.started[:19])
    suite.extend(_case(case, shelf) for case in some)
    _count(suite, list(suite))
    return suite


def _count(of: Element, held: list[Element]) -> None:
    tags = [child.tag for case in held for child in case]
    of.set("tests", str(len(held)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        of.set(name, str(tags.count(tag)))
    of.set("time", f"{sum(float(case.get('time', '0')) for case in held):.3f}")


def _case(case: Case, shelf: Shelf) -> Element:
    classname = ".".join(part for part in (case.lane, case.group) if part)
    made = Element("testcase", classname=_safe(classname), name=_safe(case.name), time=f"{case.seconds:.3f}")
    if case.standing is not Standing.GOOD:
        kind = {} if _TAGS[case.standing] == "skipped" else {"type": str(case.standing)}
        SubElement(made, _TAGS[case.standing], {"message": _safe(case.why), **kind})
    if case.output:
        held = shelf.hold(excerpt.output(case.output))
        SubElement(made, "system-out").text = _REFUSED.sub(_shown, held.text or held.note)
    return made


def _safe(text: str) -> str:
    """Text of a guest or a patch for an attribute."""
    return _REFUSED.sub(_shown, clean.line(text))


def _shown(letter: re.Match[str]) -> str:
    return f"<U+{ord(letter[0]):04X}>"
