"""make where no sandbox can be had, and only when that was asked for: what a series brings runs as the user.

Paths are the host's own, so that two trees are built under two names. What can be kept is kept: a cleared environment,
a home and a directory for temporary files that are nobody's, the quota, the deadline, a look at what was left.
"""

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kvm import proc
from orchestrator.build.sandbox import OBJ, SRC, Places, inspect

NOTE = (
    "built without a sandbox, as --unsandboxed asked: what the series' Makefiles and scripts run could read and write "
    "all that you can, and had the network"
)


class Unsandboxed(Places):
    """The directories where they are on the host; all else of the host is there, too."""

    def run(self, command: Sequence[str], *, output: Path | None = None, timeout: float = 600.0) -> proc.Completed:
        """Run `command` until it and its process group are over; what left the group may live on.

        Raises Escape when what it left in `obj` leads out of it.
        """
        with (
            self.quota.fence() as fence,
            tempfile.TemporaryDirectory(prefix="kdelta-home-", ignore_cleanup_errors=True) as home,
        ):
            own = [*self.quota.limits(), *map(self._on_host, command)]
            words = [*fence, *proc.ended_with_us(own, "TERM")]  # make ends what it started then, not when killed
            env = {**dict.fromkeys(os.environ), **self._env(home)}
            done = self._watched(words, output=output, timeout=timeout, cwd=self.obj, env=env)
        # objects that base left may still hold links into base's tree, which stands beside this one
        inspect(self.obj, str(self.src.resolve().parent), output)
        return done

    def _env(self, home: str) -> dict[str, str]:
        """All that the command has of an environment; python3 must not leave compiled scripts in the sources."""
        fixed = {"HOME": home, "TMPDIR": home, "PYTHONDONTWRITEBYTECODE": "1"}
        return fixed | {name: self._on_host(value) for name, value in self._variables.items()}

    def _on_host(self, word: str) -> str:
        """Return `word` with the places in it as they are on the host."""
        places = {SRC: self.src, OBJ: self.obj, **self._caches, **self.readable}
        known = "|".join(map(re.escape, places))
        # Kbuild asks for the real path of its sources, and writes it down
        return re.sub(rf"(?<![\w.])(?:{known})(?![\w.-])", lambda hit: str(places[hit[0]].resolve()), word)
