"""What repeats a run from nothing: its pipeline.yaml and a script, as texts."""

import shlex

import yaml

SCRIPT = """\
#!/bin/sh
# Builds, boots and tests this run again from the kernel's source alone, in a cache of its own.
# Usage: reproduce.sh [DIRECTORY FOR THE NEW RUN]
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cache=$(mktemp -d) || exit 1
trap 'rm -rf "$cache"' EXIT
kdelta --cache-dir "$cache" run "$here/series" --pipeline "$here/pipeline.yaml" {options}--out "${{1:-$here/again}}"
"""


def pipeline(asked: dict[str, object]) -> str:
    """Write the request as a pipeline.yaml; what is as it would be anyway may be left out by the caller."""
    return yaml.safe_dump(asked, sort_keys=False, allow_unicode=True)


def script(base_commit: str | None) -> str:
    """Write reproduce.sh; `base_commit` pins a git source to where it was."""
    return SCRIPT.format(options=f"--base {shlex.quote(base_commit)} " if base_commit else "")
