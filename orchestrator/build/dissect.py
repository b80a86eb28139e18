"""Two finished builds taken apart: what each holds, and a closer look at what differs between them."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from orchestrator.build import uapi
from orchestrator.build.anatomy import closeup, kernel, kit
from orchestrator.build.anatomy.errand import Place
from orchestrator.build.anatomy.facts import Anatomy, Dissection

CLOSEUPS = 12  # objects that are compiled again on each side; about a second each

Differ = Callable[[Anatomy, Anatomy], Iterable[str]]


def keep(objects: Path, directory: Path, *, sandboxed: bool = True) -> None:
    """Take what is known of a kernel right after make, and keep it beside the image in `directory`.

    The build directory moves on to other trees: later is too late.
    """
    kernel.save(kernel.take(objects), directory)
    if sandboxed:  # the command lines of other kernels name no place that a sandbox has
        kit.save(objects, directory)


def dissect(places: tuple[Place, Place], arch: str, touched: Sequence[str], differ: Differ) -> tuple[Dissection, ...]:
    """Take base and patched apart; `touched` are the paths the series changes, `differ` names objects that differ."""
    anatomies = [kernel.load(place.build) for place in places]
    if None in anatomies:
        note = "this build is from before kdelta looked into kernels; `kdelta gc` and a new build let it"
        return tuple(Dissection(found or Anatomy(notes=(note,))) for found in anatomies)
    base, patched = (found or Anatomy() for found in anatomies)
    tools = kit.load(places[1].build)
    names, notes = kit.choose(tools, differ(base, patched), touched, CLOSEUPS) if tools else ([], [])
    with ThreadPoolExecutor(2) as both:  # inside the `with`, so that each thread outlives what it starts
        closeups = [both.submit(closeup.look, place, names, touched) for place in places]
        headers = [both.submit(uapi.look, place, arch, touched) for place in places]
        found = [
            Dissection(anatomy, seen.result(), probed.result())
            for anatomy, seen, probed in zip((base, patched), closeups, headers, strict=True)
        ]
    more = tuple(notes)
    return found[0], replace(found[1], anatomy=replace(patched, notes=(*patched.notes, *more)))
