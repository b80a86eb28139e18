"""What is pushed into the guests of a lane: what needs no build is looked up before one is waited for."""

from kvm.arch import get as get_arch
from orchestrator.build.kbuild import KernelBuild
from orchestrator.model import Cell, Lane, Side
from orchestrator.plan import Plan
from orchestrator.trial.suites import payload
from orchestrator.trial.suites.payload import Payload, Place

Alike = dict[str, Payload]  # by suite, what is the same on both sides of a lane


def look_up(todo: Plan, lane: Lane) -> Alike:
    """Make what needs no build; raises UserError for what nobody has: a program, a library, a package."""
    place = Place(get_arch(lane.arch), Side.BASE, todo.cache_dir, rooted=_rooted(todo, lane.arch))
    unbuilt = (suite for suite in todo.suites if not suite.targets and not suite.modules)
    return {suite.name: payload.make(suite, place) for suite in unbuilt}


def of(todo: Plan, cell: Cell, kernel: KernelBuild, alike: Alike) -> tuple[Payload, ...]:
    """Return what the guests of one cell get; what is in `alike` is not made again, and what may be is put there."""
    orders = {side: todo.orders[Cell(side, *cell.lane)] for side in Side}
    sources = {side: todo.sources(side) for side in Side}
    rooted = _rooted(todo, cell.arch)
    place = Place(get_arch(cell.arch), cell.side, todo.cache_dir, orders, sources, kernel.modules, rooted)
    given = {suite.name: alike.get(suite.name) or payload.make(suite, place) for suite in todo.suites}
    alike.update((suite.name, given[suite.name]) for suite in todo.suites if not suite.of_a_side)
    return tuple(given.values())


def _rooted(todo: Plan, arch: str) -> bool:
    return todo.request.pipeline.guest.root_of(arch) is not None
