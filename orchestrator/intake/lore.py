"""A Message-ID or a lore.kernel.org address in, the files of its series out: b4 fetches them."""

import re
import shutil
import urllib.parse
from pathlib import Path

from kvm import proc
from kvm.errors import UserError

_MESSAGE_ID = re.compile(r"<?([^\s<>@/{}^~:-][^\s<>@/{}^~:]*@(?:[A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+)>?")
_HOSTS = ("lore.kernel.org", "lkml.kernel.org", "patch.msgid.link", "msgid.link")
_BY_HAND = "or save the thread as an mbox (lore's `mbox.gz` link) and give that file"
_SECONDS = 180.0


def message_id(spec: str) -> str | None:
    """Return the Message-ID that `spec` is or that its URL holds; None if it is neither. Raises UserError for others.

    `a..b@host` is a Message-ID, `a@host..b` is not: no host has two dots in a row.
    """
    if re.match(r"https?://", spec):
        return _of_url(spec)
    found = _MESSAGE_ID.fullmatch(spec)
    return found[1] if found else None


def fetch(spec: str, into: Path) -> list[Path]:
    """Let b4 fetch the newest version of the series into `into`; return the files with its mails."""
    wanted = message_id(spec)
    assert wanted, "only a Message-ID or a URL is fetched"
    if not shutil.which("b4"):
        raise UserError(f"b4 is needed to fetch {wanted}, and is not installed", hint=f"pip install b4, {_BY_HAND}")
    out = into / "b4"
    done = proc.run(["b4", "--no-interactive", "am", "-o", out, wanted], cwd=into, timeout=_SECONDS)
    files = sorted(path for path in out.glob("*") if path.suffix in (".mbx", ".cover")) if out.is_dir() else []
    if done.timed_out:
        raise UserError(f"b4 did not fetch {wanted} in {_SECONDS:.0f} s", hint=f"is there a network? {_BY_HAND}")
    if not files:
        words = " / ".join(done.output.strip().splitlines()[-3:]) or f"exit {done.returncode}"
        raise UserError(f"b4 could not fetch {wanted}: {words}", hint=f"is there a network? {_BY_HAND}")
    return files


def _of_url(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        host, words = parts.hostname, [urllib.parse.unquote(word) for word in parts.path.split("/")]
    except ValueError:  # brackets that hold no address
        host, words = None, []
    found = next((match[1] for word in words if (match := _MESSAGE_ID.fullmatch(word))), None)
    if host not in _HOSTS or not found:
        raise UserError(
            f"{url} names no message on lore.kernel.org",
            hint=f"give https://lore.kernel.org/LIST/MESSAGE-ID/, {_BY_HAND}",
        )
    return found
