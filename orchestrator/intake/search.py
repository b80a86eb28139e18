"""What a search finds in an archive of mails that public-inbox serves, as lore.kernel.org is: whole threads."""

from orchestrator.intake import letters
from orchestrator.post import Peer, Refused


def threads(query: str, archive: str) -> list[bytes]:
    """The mails of all threads in which one is found by `query`, in the archive's own words (`dfn:`, `s:`, `rt:`)."""
    try:
        packed = Peer(archive).read("POST", "/", letters.MAX_BYTES, params={"x": "m", "t": "1", "q": query})
    except Refused as fault:
        if fault.status == 404:  # nothing is found
            return []
        raise
    return letters.messages(letters.expand(packed))
