"""Which cluster a run is done on: named by options, and kept beside the run for whoever goes on with it."""

import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from kvm.errors import UserError
from orchestrator import store
from orchestrator.cluster import tls
from orchestrator.cluster.blobs import Blobs
from orchestrator.cluster.engine import Cluster
from orchestrator.cluster.line import Line
from orchestrator.places import Places

PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Where:
    """The scheduler's URL, that of the store, the directory with certificates, and for how long nobody may be there."""

    scheduler: str
    store: str
    certificates: str
    patience: float = PATIENCE_SECONDS

    def engine(self, places: Places) -> Cluster:
        """Return the engine of this cluster."""
        security = tls.security(self.scheduler, Path(self.certificates))
        return Cluster(places, Line(self.scheduler, security, self.patience), Blobs(self.store))

    def save(self, directory: Path) -> None:
        """Keep it in the directory of a run."""
        store.save_json(directory / store.CLUSTER, asdict(self))


def load(directory: Path) -> Where:
    """Return where a run is done; raises UserError for one that is done here."""
    file = directory / store.CLUSTER
    try:
        return TypeAdapter(Where).validate_json(file.read_bytes())
    except (OSError, ValueError) as fault:
        raise UserError(
            f"{directory} is no run of a cluster", hint="`kdelta resume` goes on with one of here"
        ) from fault


def require() -> None:
    """Raise UserError unless what a cluster needs is installed."""
    if missing := [name for name in ("distributed", "fsspec") if not importlib.util.find_spec(name)]:
        raise UserError(f"{' and '.join(missing)} not installed", hint="pip install '.[cluster]' where kdelta is")
