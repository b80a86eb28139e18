"""Work stealing by resources: errands that wait on one worker go to another that can begin them.

Dask's own goes by threads: to it a worker that does one build at once is idle, however many wait there, while it has a
thread for guests.
"""

from collections import Counter
from typing import TYPE_CHECKING

from distributed.scheduler import DEFAULT_EXTENSIONS
from distributed.stealing import WorkStealing

if TYPE_CHECKING:
    from distributed.scheduler import TaskState, WorkerState


class Stealing(WorkStealing):  # type: ignore[misc]
    """As Dask does it, but for who takes what."""

    def balance(self) -> None:
        """Ask for what waits, the oldest first, for workers that can begin it; one that has begun it refuses."""
        workers = self.scheduler.running
        left = {worker: _left(worker) for worker in workers}
        waiting = set().union(*map(_waiting, workers)) - self.in_flight.keys()
        hopeless = set()
        for task in sorted(waiting, key=lambda task: task.priority):
            wanted = frozenset(task.resource_restrictions.items())
            if wanted in hopeless:
                continue
            thief = next((one for one in left if all(left[one][name] >= much for name, much in wanted)), None)
            if thief:
                self.move_task_request(task, task.processing_on, thief)
                left[thief].subtract(task.resource_restrictions)
            else:
                hopeless.add(wanted)


EXTENSIONS = {**DEFAULT_EXTENSIONS, "stealing": Stealing}  # what makes a scheduler of Dask's one of kdelta's


def _left(worker: "WorkerState") -> Counter[str]:
    """Its resources less those of all that it was given; Dask's `used_resources` miss what was stolen."""
    left = Counter(worker.resources)
    for task in worker.processing:
        left.subtract(task.resource_restrictions or {})
    return left


def _waiting(worker: "WorkerState") -> set["TaskState"]:
    """What cannot begin for want of a resource, as far as the last heartbeat says."""
    short = {name for name, much in _left(worker).items() if much < 0}
    unbegun = set(worker.processing) - worker.executing.keys()
    return {task for task in unbegun if short & (task.resource_restrictions or {}).keys()}
