"""Content by its hash, and names that lead to such content, at an fsspec URL: a shared directory, s3://, sftp://."""

import contextlib
import hashlib
import math
import posixpath
import secrets
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from kvm.errors import Error, InfraError, UserError
from orchestrator import cache

_BLOCK = 1 << 20
_FRESH_SECONDS = 86400.0  # what is older is stored anew when it is used, so that who tidies up leaves it


class Blobs:
    """What machines hand to each other. What stands under a hash is checked by whoever takes it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = _opened(url)

    def put(self, file: Path) -> str:
        """Store a file, unless its content is there and fresh, and return its hash."""
        digest = cache.sha256(file)
        with file.open("rb") as source:
            self._write(_place(digest), source, anew=False)
        return digest

    def fetch(self, digest: str, into: Path) -> Path:
        """Write what has this hash into a file."""
        with self._asking(), self._reading(_place(digest)) as source, into.open("wb") as out:
            shutil.copyfileobj(source, out, _BLOCK)
        if cache.sha256(into) != digest:
            into.unlink()
            raise InfraError(f"{self.url}: {digest[:12]} is not what its name says", hint="remove it there")
        return into

    def put_bytes(self, content: bytes) -> str:
        """Store what is not a file."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            return self.put(Path(file.name))

    def read(self, digest: str) -> bytes:
        """Return what has this hash."""
        with tempfile.TemporaryDirectory() as scratch:
            return self.fetch(digest, Path(scratch) / "content").read_bytes()

    def put_directory(self, top: Path, leave_out: Iterable[str] = ()) -> str:
        """Store the files below `top`, but those with a name to `leave_out`."""
        names, where = set(leave_out), sorted(top.rglob("*"))
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "packed"
            with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
                for path in where:
                    if path.name not in names and path.is_file() and not path.is_symlink():
                        archive.add(path, str(path.relative_to(top)))
            return self.put(packed)

    def fetch_directory(self, digest: str, top: Path) -> None:
        """Put the files of a stored directory below `top`, over what is there."""
        with (
            tempfile.TemporaryDirectory() as scratch,
            tarfile.open(self.fetch(digest, Path(scratch) / "packed"), "r:gz") as archive,
        ):
            for member in archive:
                _extract(archive, member, top)

    def name(self, name: str, digest: str) -> None:
        """Let `name` lead to a hash from now on."""
        with tempfile.TemporaryFile() as source:
            source.write(digest.encode())
            source.seek(0)
            self._write(f"names/{name}", source, anew=True)

    def named(self, name: str, *, fresh: bool = False) -> str | None:
        """Return the hash to which `name` leads, if what has it is there, and `fresh` if it must be."""
        try:
            with self._asking(), self._reading(f"names/{name}", missing=True) as source:
                digest = bytes(source.read(64)).decode("ascii")
        except FileNotFoundError:
            return None
        return digest if self.has(digest, fresh=fresh) else None

    def has(self, digest: str, *, fresh: bool = False) -> bool:
        """Is what has this hash there, and so new, if it must be `fresh`, that nobody will tidy it up yet?"""
        return self._age(_place(digest)) < (_FRESH_SECONDS if fresh else math.inf)

    def _reading(self, place: str, *, missing: bool = False) -> IO[bytes]:
        try:
            stream: IO[bytes] = self._fs.open(posixpath.join(self._root, place), "rb")
            return stream
        except FileNotFoundError as fault:
            if missing:
                raise
            raise InfraError(f"{self.url} has no {place}", hint="was it tidied up during the run?") from fault

    def _write(self, place: str, source: IO[bytes], *, anew: bool) -> None:
        """Write it whole: by a rename where files have names of their own, as one object where they are objects."""
        final = posixpath.join(self._root, place)
        with self._asking():
            if not anew and self._age(place) < _FRESH_SECONDS:
                return
            renames = "file" in self._fs.protocol or "sftp" in self._fs.protocol
            draft = f"{final}.{secrets.token_hex(8)}" if renames else final
            self._fs.makedirs(posixpath.dirname(final), exist_ok=True)
            with self._fs.open(draft, "wb") as out:
                shutil.copyfileobj(source, out, _BLOCK)
            if renames:
                self._fs.mv(draft, final)

    def _age(self, place: str) -> float:
        """For how many seconds it has been there: endless for what is not there, none where the store does not tell."""
        path = posixpath.join(self._root, place)
        with self._asking():
            self._fs.invalidate_cache()
            try:
                return float(time.time() - self._fs.modified(path).timestamp())
            except FileNotFoundError:
                return math.inf
            except NotImplementedError:
                return 0.0 if self._fs.exists(path) else math.inf

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Every kind of store has faults of its own."""
        try:
            yield
        except (Error, FileNotFoundError):
            raise
        except Exception as fault:
            said = str(fault) or type(fault).__name__
            raise InfraError(f"{self.url}: {said}", hint="is the store there, and may it be written to?") from fault


def key(*inputs: object) -> str:
    """Name what is made of `inputs`."""
    return hashlib.sha256(repr(inputs).encode()).hexdigest()[:40]


def _place(digest: str) -> str:
    return f"sha256/{digest[:2]}/{digest}"


def _opened(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415
    except ImportError as fault:
        raise UserError("fsspec is not installed", hint="pip install '.[cluster]' where kdelta is") from fault
    try:
        fs, root = url_to_fs(url)
    except (ImportError, ValueError) as fault:
        raise UserError(
            f"{url}: {fault}", hint="a directory that all share, s3://BUCKET/PATH, sftp://HOST/PATH"
        ) from fault
    return fs, str(root)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, top: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not member.isfile():
        raise InfraError(f"an archive of a worker names {str(name)[:100]!r}, which is no file below its directory")
    content = archive.extractfile(member)
    assert content
    target = top / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out:
        shutil.copyfileobj(content, out, _BLOCK)
    Path(out.name).chmod(member.mode & 0o755)
    Path(out.name).replace(target)
