"""Faults, sorted by whose they are: the user's, the infrastructure's, or the kernel's."""

import errno
from pathlib import Path

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)  # the machine's, whatever file was asked for


def of_system(fault: OSError) -> str:
    """A fault of the host's in words, with the file that it is about."""
    return f"{fault.filename or 'the system'}: {fault.strerror or fault}"


class Error(Exception):
    """A fault that can be explained: what happened, where the log is, what to do."""

    def __init__(self, message: str, *, hint: str | None = None, log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log = log


class UserError(Error):
    """The request cannot be met as it was made: bad configuration, missing tool, a series that does not apply."""


class InfraError(Error):
    """The machinery failed: QEMU did not start, the disk is full, a package is not to be had."""


class RefusedError(InfraError):
    """A guest refused a command of our own, which does not fail in one that is well."""


class KernelError(Error):
    """The kernel under test failed; becomes a result, never an exit."""


class BuildError(KernelError):
    """The tree did not build; `tried` says what it tried meanwhile that it may not."""

    tried: tuple[str, ...] = ()
    unfinished = False  # was it ended at a limit of this host?


class GuestError(KernelError):
    """A guest ended otherwise than it should: `kind` is panic, hang, lost or no-boot; `stdout` what was said so far."""

    def __init__(
        self, message: str, *, kind: str, hint: str | None = None, log: Path | None = None, stdout: bytes = b""
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.kind = kind
        self.stdout = stdout


class BootError(GuestError):
    """The kernel did not reach its ready line."""


class GuestLost(GuestError):
    """A booted guest panicked, exited or stopped answering."""


class Interrupted(BaseException):
    """The process was told to stop (SIGINT, SIGTERM); like KeyboardInterrupt, no `except Exception` eats it."""
