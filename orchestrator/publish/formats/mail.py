"""A plain-text mail that answers the series, 72 columns wide; whose Tested-by it may be is left to a human."""

import re
import textwrap
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage

from orchestrator.model import Run
from orchestrator.publish import outline
from orchestrator.publish.clean import line

WIDTH = 72
_LONGEST = 300  # a word that no line holds, such as a path, is left whole up to here
_ADDRESS = r"([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255})"
_NAMED = re.compile(rf"(.*?)\s*<{_ADDRESS}>|{_ADDRESS}")
_ID = re.compile(r"<[!-;=?-~]{1,250}@[!-;=?-~]{1,250}>")
_POLICY = policy.default.clone(max_line_length=998)  # at 78 it would encode a long Message-ID, which then is another
_REPLY = re.compile(r"^(?:\s*re:)+\s*", re.IGNORECASE)


def write(run: Run) -> str:
    """The mail as a draft: an answer in the thread, if the series came by mail; sender and date are its sender's."""
    mail, posting = EmailMessage(_POLICY), run.series.posting
    mail["Subject"] = f"Re: {_REPLY.sub('', line(posting.subject if posting else run.series.title))}"
    if posting:
        mail["To"] = _addresses([posting.sender])
        mail["Cc"] = _addresses([other for other in posting.recipients if other != posting.sender])
        thread = list(filter(_ID.fullmatch, (*posting.references, posting.message_id)))
        mail["In-Reply-To"] = "".join(thread[-1:])
        mail["References"] = " ".join(thread)
    mail.set_content(body(run), charset="utf-8", cte="8bit")
    for name, value in mail.items():
        if not value:
            del mail[name]
    return mail.as_string()


def body(run: Run) -> str:
    """What the mail says; also good for a cover letter."""
    release = line(run.kernel.release)
    blocks = [
        _wrapped(f"kdelta compared Linux {release} without and with this series:", "", ""),
        _wrapped(outline.headline(run), "", "  "),
    ]
    for section in outline.sections(run):
        title = f"{section.title}:\n" if section.title else ""
        blocks.append(title + "\n".join(_wrapped(text, "- ", "  ") for text in section.lines))
    return "\n\n".join(blocks) + "\n"


def _wrapped(text: str, first: str, rest: str) -> str:
    words = " ".join(word if len(word) <= _LONGEST else f"{word[:_LONGEST]}…" for word in line(text).split())
    wrapped = textwrap.wrap(
        words, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrapped)


def _addresses(named: list[str]) -> tuple[Address, ...]:
    """Those that are addresses; what else stands in a hostile header is left out."""
    found = [match for one in named if (match := _NAMED.fullmatch(line(one)))]
    return tuple(address for match in found for address in _address(match[1] or "", match[2] or match[3]))


def _address(name: str, address: str) -> tuple[Address, ...]:
    try:
        return (Address(name, addr_spec=address),)
    except (MessageError, ValueError, IndexError):
        return ()
