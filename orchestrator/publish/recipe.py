"""What repeats a run from nothing: its pipeline.yaml and a script, as texts."""

import yaml

SCRIPT = """\
#!/bin/sh
# Builds, boots and tests this run again from the kernel's source alone, in a cache of its own.
# Usage: reproduce.sh [DIRECTORY FOR THE NEW RUN]
here=$(cd "$(dirname "$0")" && pwd) || exit 1
cache=$(mktemp -d) || exit 1
trap 'rm -rf "$cache"' EXIT
kdelta --cache-dir "$cache" run --pipeline "$here/pipeline.yaml" --out "${1:-$here/again}"
"""


def pipeline(asked: dict[str, object]) -> str:
    """Write what was asked for as a pipeline.yaml."""
    return yaml.safe_dump(asked, sort_keys=False, allow_unicode=True)
