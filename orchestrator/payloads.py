"""What is pushed into the guests of a lane: what needs no build is looked up before one is waited for."""

from kvm.arch import get as get_arch
from orchestrator.build.kbuild import KernelBuild
from orchestrator.job import Job
from orchestrator.model import Cell, Lane, Side
from orchestrator.plan import Plan
from orchestrator.trial.suites import payload
from orchestrator.trial.suites.payload import Payload, Place


def look_up(job: Job, lane: Lane) -> None:
    """Raise UserError for what a suite needs and nobody has: a program, a library, a package."""
    place = Place(get_arch(lane.arch), Side.BASE, job.plan.cache_dir, rooted=_rooted(job.plan, lane.arch))
    for suite in job.plan.suites:
        if not suite.targets and not suite.modules:
            payload.make(suite, place)


def of(job: Job, cell: Cell, kernel: KernelBuild) -> tuple[Payload, ...]:
    """Return what the guests of one cell get; what is the same on both sides is made once."""
    orders = {side: job.plan.orders[Cell(side, *cell.lane)] for side in Side}
    sources = {side: job.plan.sources(side) for side in Side}
    rooted = _rooted(job.plan, cell.arch)
    place = Place(get_arch(cell.arch), cell.side, job.plan.cache_dir, orders, sources, kernel.modules, rooted)
    return tuple(payload.make(suite, place) for suite in job.plan.suites)


def _rooted(todo: Plan, arch: str) -> bool:
    return todo.request.pipeline.guest.root_of(arch) is not None
