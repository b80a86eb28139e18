"""The busiest hours of a lab on the real scheduler, its workers asleep instead of building.

`python benchmarks/scale.py --help`. Errands are Dask tasks with kdelta's resources, that last what such errands were
measured to last, divided by --speed: the scheduler sees --speed times the load of such hours. Nine of ten series of a
day come within ten hours, at any moment of them. Prints, for each number of workers, how long errands waited, how busy
builders were, and the scheduler's processor time. Scheduler and workers are as `kdelta` starts them, but for --memory.
"""

import argparse
import asyncio
import logging
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, fields

import dask
from distributed import Client, Worker

from orchestrator import places
from orchestrator.cluster.ability import BUILD, GUESTS, MEMORY, Ability
from orchestrator.cluster.engine import BUILD_MIB
from orchestrator.cluster.worker import SETTINGS, Offer
from orchestrator.commands import cluster
from orchestrator.config import GuestSize

SCHEDULER = """
import asyncio, dask
from distributed import Scheduler
from orchestrator.cluster.stealing import EXTENSIONS
from orchestrator.cluster.worker import SETTINGS
async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0", extensions=EXTENSIONS) as one:
        print(one.address, flush=True)
        await one.finished()
with dask.config.set(SETTINGS):
    asyncio.run(main())
"""
EVENTS = 10  # what a process says while an errand lasts, at least
DEFAULTS = {option.name: option.default for option in cluster.worker.params}  # of `kdelta worker`
ABLE = {kind: Ability(kind, "x86_64", "", ()) for kind in (BUILD, GUESTS)}
OFFER = Offer(tuple(ABLE.values()), DEFAULTS["builds"], DEFAULTS["lanes"])
TAKES = {
    BUILD: ABLE[BUILD].takes(BUILD_MIB),
    GUESTS: ABLE[GUESTS].takes(2.0 * (GuestSize().memory_mib + places.OVERHEAD_MIB)),  # a guest of each side
}


@dataclass(frozen=True)
class Lab:
    """What comes in, and what it takes: seconds of an errand, and how much each differs (standard deviation / mean)."""

    series: int
    hours: float
    lanes: int
    build: float
    guests: float
    spread: float
    speed: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=1000, help="a day (%(default)s)")
    parser.add_argument("--lanes", type=int, default=6, help="of each: architectures x flavours (%(default)s)")
    parser.add_argument("--build", type=float, required=True, help="seconds to build both sides of a lane")
    parser.add_argument("--guests", type=float, required=True, help="seconds of a lane's guests")
    parser.add_argument("--spread", type=float, default=0.3, help="standard deviation by mean (%(default)s)")
    parser.add_argument("--hours", type=float, default=3, help="so many of the busy ones (%(default)s)")
    parser.add_argument("--speed", type=float, default=45, help="how many times faster than real (%(default)s)")
    parser.add_argument("--memory", type=float, default=16384, help="MiB of a worker (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[20, 40, 80])
    asked = parser.parse_args()
    lab = Lab(**{field.name: getattr(asked, field.name) for field in fields(Lab)})
    dask.config.set(SETTINGS)
    print(
        "workers | errands | until the last / h | wait median / p95 / s | builders busy | scheduler s | ms per errand"
    )
    logging.getLogger("distributed").setLevel(logging.ERROR)
    for count in asked.workers:
        print(asyncio.run(pass_hours(lab, count)), flush=True)


async def pass_hours(lab: Lab, count: int) -> str:
    """Let them pass, and say how it went in the time of the lab."""
    with subprocess.Popen(
        [sys.executable, "-c", SCHEDULER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as scheduler:
        assert scheduler.stdout
        url = scheduler.stdout.readline().strip()
        try:
            return await _hours(lab, count, url, scheduler.pid)
        finally:
            scheduler.terminate()


async def _hours(lab: Lab, count: int, url: str, scheduler: int) -> str:
    more = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    more |= {"nthreads": OFFER.threads, "resources": {**OFFER.resources, MEMORY: lab.memory}}
    workers = await asyncio.gather(*(Worker(url, **more) for _ in range(count)))
    used, began, random_ = processor(scheduler), time.monotonic(), random.Random(0)
    async with Client(url, asynchronous=True) as client:
        count_in = round(0.9 * lab.series * lab.hours / 10)
        comes = sorted(random_.uniform(0, lab.hours * 3600) / lab.speed for _ in range(count_in))
        waits = [
            await_for
            for each in await asyncio.gather(
                *(one(client, lab, began + at, number, random_) for number, at in enumerate(comes))
            )
            for await_for in each
        ]
        hours = (time.monotonic() - began) * lab.speed / 3600
    used = processor(scheduler) - used
    await asyncio.gather(*(worker.close() for worker in workers))
    work = count_in * lab.lanes * lab.build
    p95 = statistics.quantiles(waits, n=20)[-1]
    return (
        f"{count:7} | {len(waits):7} | {hours:18.1f} | {statistics.median(waits):10.0f} / {p95:6.0f} "
        f"| {work / (count * OFFER.builds * hours * 3600):13.0%} | {used:11.1f} | {used / len(waits) * 1000:.1f}"
    )


async def one(client: Client, lab: Lab, comes: float, number: int, random_: random.Random) -> list[float]:
    """A series: its lanes are built, and then their guests run; returns how long each errand waited, in lab seconds."""
    await asyncio.sleep(max(0.0, comes - time.monotonic()))
    return [
        wait
        for lane in await asyncio.gather(
            *(_lane(client, lab, f"{number}-{lane}", random_) for lane in range(lab.lanes))
        )
        for wait in lane
    ]


async def _lane(client: Client, lab: Lab, name: str, random_: random.Random) -> list[float]:
    waits = []
    for kind, mean in ((BUILD, lab.build), (GUESTS, lab.guests)):
        seconds = max(0.1 * mean, random_.gauss(mean, lab.spread * mean)) / lab.speed
        asked = time.monotonic()
        began = await client.submit(
            errand, seconds, f"kdelta-{name[0]}", key=f"kdelta-{kind}-{name}", resources=TAKES[kind]
        )
        waits.append((began - asked) * lab.speed)
    return waits


async def errand(seconds: float, topic: str) -> float:
    """What a worker does meanwhile: it says something now and then; returns when it began."""
    from distributed import get_worker  # noqa: PLC0415

    began = time.monotonic()
    for number in range(EVENTS):
        get_worker().log_event(topic, {"log": "base/x86_64-fast/build.log", "at": 0, "text": "x" * 1000})
        await asyncio.sleep(max(0.0, began + seconds * (number + 1) / EVENTS - time.monotonic()))
    return began


def processor(pid: int) -> float:
    """Processor seconds that a process has used."""
    import psutil  # noqa: PLC0415

    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
