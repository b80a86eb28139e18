"""Take each bundled MADV_DONTNEED_LOCKED series out of Debian's kernel and put it back: the tree must be the same.

Downloads and imports three kernel sources on first use (about 150 MB and 45 s each).
"""

import sys
import time

from orchestrator import cache, config
from orchestrator.intake import git, history, mail, series, source

KERNELS = {"6.1": "bookworm", "6.12": "trixie", "7.2": "sid"}
FLAG = "MADV_DONTNEED_LOCKED"


def main() -> int:
    bad = 0
    for version, suite in KERNELS.items():
        origin = source.resolve(f"debian:linux-source-{version}/{suite}", None, cache.default_root())
        mails = mail.read(config.find_series(f"madv-dontneed-locked-{version}", config.share())).mails
        began = time.monotonic()
        found = history.find(mails, origin)
        base, patched = history.revert(mails, origin)
        again = series.apply(mails, base)
        same = patched.tree == origin.tree == again.tree != base.tree
        names = git.Repository(origin.git_dir).attempt("grep", "-l", FLAG, base.tree, "--").output.split()
        left = [name.partition(":")[2] for name in names]
        bad += not same or any(not name.startswith(("Documentation/", "tools/testing/")) for name in left)
        print(f"{origin.release}: {', '.join(patch.presence for patch in found)}; base {base.tree[:12]}")
        print(f"  {base.tree[:12]} + series = {again.tree[:12]}, Debian's tree = {origin.tree[:12]}: same: {same}")
        print(f"  still named by: {', '.join(left) or 'nothing'}; {time.monotonic() - began:.1f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
