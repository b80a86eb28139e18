"""Faults that end one thing, and never the night."""

import contextlib
import logging
from collections.abc import Iterator

from kvm import errors
from kvm.errors import Error

log = logging.getLogger(__name__)


def said(fault: Exception, what: str) -> str:
    """A fault of `what` in a line; one that is ours goes to the log whole."""
    if isinstance(fault, Error):
        return fault.message
    if isinstance(fault, OSError):
        return errors.of_system(fault)
    log.error("%s", what, exc_info=fault)
    return f"a fault of kdelta itself: {fault!r}"


@contextlib.contextmanager
def warned(what: str) -> Iterator[None]:
    """Whatever goes wrong in the block is a warning that begins with `what`, and changes no exit code."""
    try:
        yield
    except Exception as fault:
        log.warning("%s: %s", what, said(fault, what))
