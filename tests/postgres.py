"""A PostgreSQL of one's own: a cluster in a temporary directory, an ordinary user's, that listens on a socket there."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

USER = "kdelta"
_CARELESS = ("fsync=off", "full_page_writes=off")  # nothing in it outlives a test


def _programs() -> Path | None:
    """Where Debian puts the server's programs, which are not on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextlib.contextmanager
def cluster(settings: Sequence[str] = _CARELESS) -> Iterator[str]:
    """Start it, and yield the URL of its server, to which the name of a database is to be added before the `?`."""
    programs = _programs()
    assert programs, "postgresql is not installed: .ci/packages names it"
    top = Path(tempfile.mkdtemp(prefix="kdelta-pg-"))
    prefix: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        owner = pwd.getpwnam("nobody")
        os.chown(top, owner.pw_uid, owner.pw_gid)
        prefix = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]

    def run(*argv: object) -> None:
        subprocess.run([*prefix, *map(str, argv)], check=True, cwd=top, stdout=subprocess.DEVNULL)

    options = " ".join(
        f"-c {setting}" for setting in (*settings, "listen_addresses=", f"unix_socket_directories={top}")
    )
    control = (programs / "pg_ctl", "--silent", "--pgdata", top / "data", "--log", top / "log", "--wait")
    try:
        run(programs / "initdb", "--pgdata", top / "data", "--username", USER, "--auth", "trust", "--no-sync")
        run(*control, "--options", options, "start")
        try:
            yield f"postgresql://{USER}@/?host={top}"
        finally:
            run(*control, "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(top)
