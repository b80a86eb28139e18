"""Debian packages of any suite and architecture, without root and without touching the host's own apt state."""

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kvm import disk, proc
from kvm.errors import InfraError, UserError

log = logging.getLogger(__name__)

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_VARIABLE = "KDELTA_DEBIAN_MIRROR"
_UNKNOWN = re.compile(r"^.*E: Unable to locate package ([a-z0-9][a-z0-9+.-]*)", re.MULTILINE)
UPDATE_SECONDS = 300.0
DOWNLOAD_SECONDS = 900.0

# Given with --config-file, which apt reads after the host's own files (APT_CONFIG is read before them), so that
# the host's proxies and retries stay, and its hooks, which may clean the host's cache, can be cleared.
APT_CONF = """\
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{root}/state";
Dir::State::Lists "{root}/state/lists";
Dir::State::status "/dev/null";
Dir::Cache "{root}/cache";
Dir::Log "{root}";
APT::Architecture "{deb_arch}";
#clear APT::Architectures;
APT::Architectures {{ "{deb_arch}"; }};
APT::Sandbox::User "";
#clear APT::Update;
APT::Get::List-Cleanup "false";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
"""


def fetch(packages: Sequence[str], *, suite: str, deb_arch: str, cache_dir: Path) -> list[Path]:
    """Return a .deb for each of `packages`, in order; what was downloaded once needs no network again.

    Who reads them holds `cache_dir`/apt/`suite`.
    """
    root = cache_dir / "apt" / suite
    with disk.hold(root), disk.lock(_lock(root)):
        (root / "debs").mkdir(parents=True, exist_ok=True)
        os.utime(root)  # last use, for gc
        index = _read_index(root)
        missing = [name for name in packages if f"{name}:{deb_arch}" not in index]
        if missing:
            index |= _download(missing, suite, deb_arch, root)
            disk.write(root / "index.json", json.dumps(index, indent=1, sort_keys=True))
    return [root / "debs" / index[f"{name}:{deb_arch}"] for name in packages]


def depends(package: str, *, suite: str, deb_arch: str, cache_dir: Path) -> list[str]:
    """Return what `package` depends on: the way from a name that stays to one that carries a version."""
    root = cache_dir / "apt" / suite
    with disk.hold(root), disk.lock(_lock(root)):
        conf = _configure(root, suite, deb_arch)
        proc.check(["apt-get", f"--config-file={conf}", "--quiet", "update"], timeout=UPDATE_SECONDS)
        said = proc.check(["apt-cache", f"--config-file={conf}", "depends", f"{package}:{deb_arch}"], timeout=60)
    return re.findall(r"^ *Depends: ([^\s:<]+)", said, re.MULTILINE)


def libraries(deb: Path) -> list[str]:
    """Return the packages with shared libraries that a package depends on; by Debian's policy their names tell."""
    said = proc.check(["dpkg-deb", "--field", deb, "Pre-Depends", "Depends"], timeout=60)
    alternatives = re.split(r"[,\n]", re.sub(r"^[\w-]+:", "", said, flags=re.MULTILINE))
    first = (re.match(r"\s*(z?lib[a-z0-9+.-]+)", alternative) for alternative in alternatives)
    return [name[1] for name in first if name]


def _lock(root: Path) -> Path:
    return root.parent.parent / "locks" / f"apt-{root.name}"


def unpack(deb: Path, into: Path) -> None:
    """Extract the files of one package below the directory `into`."""
    into.mkdir(parents=True, exist_ok=True)
    proc.check(["dpkg-deb", "--extract", deb, into], what=f"unpack {deb.name}")


def _read_index(root: Path) -> dict[str, str]:
    """Read which file a package was resolved to; an entry whose file is gone is forgotten."""
    try:
        index = json.loads((root / "index.json").read_text())
        return {key: name for key, name in index.items() if (root / "debs" / name).is_file()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _download(names: Sequence[str], suite: str, deb_arch: str, root: Path) -> dict[str, str]:
    """Download `names` and return the index entries for them."""
    log.info("fetching %s (%s, %s)", ", ".join(names), suite, deb_arch)
    conf = _configure(root, suite, deb_arch)
    with tempfile.TemporaryDirectory(dir=root, prefix="download-") as fresh:
        try:
            proc.check(["apt-get", f"--config-file={conf}", "--quiet", "update"], timeout=UPDATE_SECONDS)
            wanted = [f"{name}:{deb_arch}/{suite}" for name in names]
            command = ["apt-get", f"--config-file={conf}", "--quiet", "download", *wanted]
            proc.check(command, cwd=Path(fresh), timeout=DOWNLOAD_SECONDS)
        except InfraError as error:
            raise fault(names, suite, deb_arch, error.message) from error
        found = {_package_name(deb): deb for deb in sorted(Path(fresh).glob("*.deb"))}
        for name in names:
            if name not in found:
                raise InfraError(f"apt-get download {name}:{deb_arch}/{suite} ended well but left no such file")
            shutil.move(found[name], root / "debs" / found[name].name)
    return {f"{name}:{deb_arch}": found[name].name for name in names}


def fault(names: Sequence[str], suite: str, deb_arch: str, words: str) -> UserError | InfraError:
    """Say whose fault apt's `words` tell of: there is no such package, or it could not be had."""
    if unknown := _UNKNOWN.findall(words):
        return UserError(
            f"Debian's {suite} has no package {', '.join(dict.fromkeys(unknown))} for {deb_arch}",
            hint=f"another name, or another architecture? asked for: {', '.join(names)}",
        )
    hint = "is the network up? apt's own words are above; the mirror is the host's own"
    return InfraError(f"packages {', '.join(names)} of {suite}: {words}", hint=hint)


def _package_name(deb: Path) -> str:
    """Return the package of `<package>_<version>_<architecture>.deb`; none of the three holds an underscore."""
    return deb.name.partition("_")[0]


def _configure(root: Path, suite: str, deb_arch: str) -> Path:
    """Write apt's configuration below `root` and return the file to give to `apt-get --config-file`."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise UserError(
            "this host has no apt: kdelta takes the guest's programs and Debian's kernel sources from Debian packages",
            hint="run kdelta on Debian or Ubuntu, or in a Debian container",
        )
    line = source_line(suite)
    for below in ("state/lists/partial", "cache/archives/partial"):
        (root / below).mkdir(parents=True, exist_ok=True)
    (root / "sources.list").write_text(f"{line}\n")
    conf = root / "apt.conf"
    conf.write_text(APT_CONF.format(root=root.resolve(), deb_arch=deb_arch))
    return conf


def source_line(suite: str) -> str:
    """Return the line of sources.list for `suite`, from the mirror that the host itself uses."""
    if not KEYRING.exists():
        raise UserError(f"{KEYRING} is missing", hint="install debian-archive-keyring")
    return f"deb [signed-by={KEYRING}] {_mirror()} {suite} main"


def _mirror() -> str:
    """Return the Debian mirror that the host itself uses."""
    if given := os.environ.get(MIRROR_VARIABLE):
        return given
    words = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"]
    found = re.search(r"^Debian\|Debian\|(\S+)$", proc.check(words, timeout=60), re.MULTILINE)
    if not found:
        raise UserError(
            "the host's apt knows no Debian mirror",
            hint=f"run `apt-get update` once as root, or set {MIRROR_VARIABLE} to a Debian mirror's address",
        )
    return found[1]
