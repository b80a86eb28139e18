"""Who may take part: certificates of an authority of the cluster's own; plain TCP is for this machine alone."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kvm.errors import UserError
from orchestrator.post import is_loopback

if TYPE_CHECKING:
    from distributed import Security

AUTHORITY, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"
_DAYS = 825


def default() -> Path:
    """Where a user's certificates are."""
    return Path.home() / ".config" / "kdelta" / "cluster"


def security(url: str, directory: Path) -> "Security | None":
    """Return what Dask needs for `url`: certificates for tls://, nothing for tcp:// on this machine; else UserError."""
    from distributed import Security  # noqa: PLC0415

    scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    if scheme == "tcp" and is_loopback(host or ""):
        return None
    if scheme != "tls":
        raise UserError(
            f"{url}: without TLS anybody who reaches it can run programs there",
            hint="give tls://HOST:PORT; `kdelta cluster init` makes certificates. tcp:// is for 127.0.0.1",
        )
    paths = {name: directory / name for name in (AUTHORITY, CERTIFICATE, KEY)}
    if missing := [str(path) for path in paths.values() if not path.is_file()]:
        raise UserError(
            f"no such file: {', '.join(missing)}", hint="`kdelta cluster init` makes them; --tls names others"
        )
    cert = {"cert": str(paths[CERTIFICATE]), "key": str(paths[KEY])}
    return Security(
        require_encryption=True,
        tls_ca_file=str(paths[AUTHORITY]),
        **{f"tls_{role}_{part}": file for role in ("client", "worker", "scheduler") for part, file in cert.items()},
    )


def make(directory: Path) -> None:
    """Make an authority and one certificate for all who take part; the authority's key is not kept."""
    if any((directory / name).exists() for name in (AUTHORITY, CERTIFICATE, KEY)):
        raise UserError(f"{directory} holds certificates already", hint="remove them, or name another directory")
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _sign("kdelta authority", authority_key.public_key(), "kdelta authority", authority_key, path=0)
    certificate = _sign("kdelta", key.public_key(), "kdelta authority", authority_key, path=None)
    for name, content in (
        (
            KEY,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        ),
        (AUTHORITY, authority.public_bytes(serialization.Encoding.PEM)),
        (CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM)),
    ):
        (directory / name).touch(mode=0o600)
        (directory / name).write_bytes(content)


def _sign(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    path: int | None,
) -> x509.Certificate:
    """A certificate; an authority's has a `path` length."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=path is not None, path_length=path), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
