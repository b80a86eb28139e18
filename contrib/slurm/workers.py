"""Workers of kdelta as jobs of Slurm, as many as there is work for: `python workers.py`, on a machine that has sbatch.

Wants dask-jobqueue, certificates of `kdelta cluster init` where all nodes see them, and kdelta on all nodes.
"""

import signal
from pathlib import Path

import dask
from dask_jobqueue import SLURMCluster

from orchestrator.cluster import stealing, tls, worker


def cluster() -> SLURMCluster:
    """The scheduler here, and what each job is."""
    dask.config.set(worker.SETTINGS)
    return SLURMCluster(
        cores=2,  # one errand of each kind; how many processors a job has is said to Slurm
        job_cpu=8,
        processes=1,
        memory="16GiB",
        walltime="08:00:00",
        nanny=False,
        protocol="tls://",
        security=tls.security("tls://", tls.default()),
        shared_temp_directory=str(Path.home()),
        scheduler_options={"port": 8786, "dashboard_address": "127.0.0.1:0", "extensions": stealing.EXTENSIONS},
        worker_extra_args=["--preload", "orchestrator.cluster.preload", "--no-dashboard"],
    )


if __name__ == "__main__":
    with cluster() as started:
        started.adapt(minimum=0, maximum=20)
        print(started.scheduler_address)  # noqa: T201  (what `kdelta run --scheduler` is given)
        signal.pause()
