"""Who else is told of a run over the network: a webhook and Patchwork, if pipeline.yaml names them."""

import logging
import os
import shlex
from pathlib import Path
from urllib.parse import quote

from kvm.errors import Error, InfraError, UserError
from orchestrator import config
from orchestrator.model import Run
from orchestrator.post import Patience, Peer
from orchestrator.publish.formats import patchwork, webhook

log = logging.getLogger(__name__)

PATCHWORK_TOKEN, WEBHOOK_TOKEN = "KDELTA_PATCHWORK_TOKEN", "KDELTA_WEBHOOK_TOKEN"


def tell(run: Run, directory: Path, asked: config.Report, *, to_patchwork: bool) -> None:
    """Tell whoever is named. What goes wrong is a warning: no verdict and no exit code depends on others."""
    where = address(asked, directory)
    try:
        if asked.webhook:
            tell_webhook(run, asked.webhook, where)
    except Exception as fault:
        log.warning("the webhook was not told: %s", _said(fault))
    try:
        if to_patchwork:
            tell_patchwork(run, asked, where)
    except Exception as fault:
        again = shlex.join(["kdelta", "report", str(directory), "--patchwork"])
        log.warning("Patchwork was not told: %s\n  when that is mended: %s", _said(fault), again)


def _said(fault: Exception) -> str:
    """Of a fault that is not ours its kind alone: its words may hold the address."""
    return fault.message if isinstance(fault, Error) else type(fault).__name__


def tell_webhook(run: Run, url: str, where: str, patience: Patience | None = None) -> None:
    """Post what is to be known of the run; a `url` of the form $NAME is the value of that variable."""
    named = os.environ.get(url[1:], "") if url.startswith("$") else url
    if not named.startswith(("http://", "https://")):
        raise UserError(f"{url} holds no http:// or https:// address")
    token = os.environ.get(WEBHOOK_TOKEN, "")
    Peer(named, f"Bearer {token}" if token else "", patience).post("", webhook.body(run, where))


def patchwork_token(asked: config.Report) -> tuple[config.Patchwork, str]:
    """Where checks go, and the token; raises UserError where one is missing."""
    token = os.environ.get(PATCHWORK_TOKEN, "")
    if not asked.patchwork:
        raise UserError("pipeline.yaml names no Patchwork", hint="report: {patchwork: {url: ..., project: ...}}")
    if not token:
        raise UserError(f"${PATCHWORK_TOKEN} is not set", hint="it holds the API token of your account there")
    return asked.patchwork, token


def tell_patchwork(run: Run, asked: config.Report, where: str, patience: Patience | None = None) -> int:
    """Post a check of each patch; returns of how many. Raises an Error, too, after those that could be posted."""
    there, token = patchwork_token(asked)
    checks = patchwork.checks(run, there.context, where)
    if not checks:
        raise UserError("the series came by no mail, so Patchwork has no patch of it")
    peer = Peer(f"{there.url.rstrip('/')}/api/1.2", f"Token {token}", patience)  # 1.1 finds no patch by its mail
    numbers = [_number(peer, there.project, check.message_id) for check in checks]
    for check, number in zip(checks, numbers, strict=True):
        if number:
            peer.post(f"/patches/{number}/checks/", check.body)
    if missing := numbers.count(0):
        raise InfraError(f"{peer.host} has {missing} of {len(checks)} patches not in the project {there.project}")
    return len(checks)


def _number(peer: Peer, project: str, message_id: str) -> int:
    """The patch's number there, or 0. What is found is looked at: a server that knows no such filter lists them all."""
    found = peer.get("/patches/", project=project, msgid=message_id)
    for one in found if isinstance(found, list) else []:
        match one:
            case {"id": int(number), "msgid": said} if said == f"<{message_id}>":
                return number
    return 0


def address(asked: config.Report, directory: Path) -> str:
    """Where others read the report; "" if nobody said."""
    return f"{asked.address.rstrip('/')}/{quote(directory.name)}/report.html" if asked.address else ""
