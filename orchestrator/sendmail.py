"""A mail sent the way its user sends mail: by the machine's sendmail, whichever program that is."""

import email
import os
import shutil

from kvm import proc
from kvm.errors import InfraError, UserError

_ELSEWHERE = "/usr/sbin:/usr/lib"  # not on every user's PATH
_SECONDS = 60.0


def send(mail: str) -> None:
    """Hand it over, to whom its headers name; raises UserError if they name nobody or there is no sendmail."""
    if not email.message_from_string(mail)["To"]:
        raise UserError(
            "the series came by no mail, so nobody is there to answer",
            hint="run it from the mails, as lore or a mailbox has them; or send what --mail prints yourself",
        )
    program = shutil.which("sendmail", path=f"{os.environ.get('PATH', '')}:{_ELSEWHERE}")
    if not program:
        raise UserError("there is no sendmail", hint="msmtp-mta or postfix brings one; or send what --mail prints")
    done = proc.run([program, "-i", "-t"], input=mail.encode(), timeout=_SECONDS)
    if done.returncode or done.timed_out:
        said = done.output.strip()[-200:] or ("no answer" if done.timed_out else "no word")
        raise InfraError(f"sendmail did not take the mail (exit {done.returncode}): {said}")
