"""System calls that no namespace contains, refused by a filter of classic BPF (seccomp(2)).

The user's keyrings follow a process everywhere; sockets of some families (AF_VSOCK: the hypervisor) know no network
namespace, and io_uring opens sockets behind a filter's back; who traces can change what the sandbox's init, which is
bwrap's, tells the outside; bpf, perf and userfaultfd are of no use to a build.

bwrap loads it; or, where a listener can be had, the build itself begins with it: then what is refused, and what opens
a socket or a file to be written, is asked about (orchestrator/build/watch.py).
"""

import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, |JGE|K, BPF_RET|K
_ANY_OF = 0x45  # BPF_JMP|JSET|K
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little-endian
_ALLOW, _ERRNO, _ASK = 0x7FFF0000, 0x00050000, 0x7FC00000
_X32 = 0x40000000  # calls of the x32 ABI, which have the arch of x86_64
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT  # the same on all of these machines
_SILENT = (1, 16)  # AF_UNIX, AF_NETLINK: libraries open them for names of users and of hosts
CONTAINED = (*_SILENT, 2, 10)  # and AF_INET, AF_INET6: by the network namespace


@dataclass(frozen=True)
class Call:
    """What a system call does, in a word; `path` is the argument that names the file which it changes.

    `at` says that the argument before that is a directory, `flags` which argument says whether it writes at all.
    """

    name: str
    path: int | None = None
    at: bool = False
    flags: int | None = None


SOCKET = Call("socket")
_OPEN = Call("tried to write", 0, flags=1)
_OPENAT = Call("tried to write", 1, at=True, flags=2)
_CREAT = Call("tried to write", 0)
_MKDIR = Call("tried to make", 0)
_MKDIRAT = Call("tried to make", 1, at=True)
_RENAME = Call("tried to replace", 1)
_RENAMEAT = Call("tried to replace", 3, at=True)


@dataclass(frozen=True)
class _Abi:
    """How one machine calls the kernel: its AUDIT_ARCH, what is refused by number, what writes files by number."""

    arch: int
    socket: int
    refused: dict[int, str]
    writes: dict[int, Call]


_REFUSED = (
    *("ptrace", "add_key", "request_key", "keyctl", "perf_event_open", "process_vm_readv", "process_vm_writev", "bpf"),
    *("userfaultfd", "io_uring_setup", "pidfd_getfd", "socketcall"),  # the last hides its arguments from a filter
)


def _abi(arch: int, socket: int, refused: Iterable[int], writes: dict[int, Call]) -> _Abi:
    return _Abi(arch, socket, dict(zip(refused, _REFUSED, strict=False)), writes)


_ON_32 = {5: _OPEN, 8: _CREAT, 38: _RENAME, 39: _MKDIR}
_X86_64 = _abi(
    *(0xC000003E, 41, (101, 248, 249, 250, 298, 310, 311, 321, 323, 425, 438)),
    {2: _OPEN, 82: _RENAME, 83: _MKDIR, 85: _CREAT} | {257: _OPENAT, 258: _MKDIRAT, 264: _RENAMEAT, 316: _RENAMEAT},
)
_I386 = _abi(
    *(0x40000003, 359, (26, 286, 287, 288, 336, 347, 348, 357, 374, 425, 438, 102)),
    _ON_32 | {295: _OPENAT, 296: _MKDIRAT, 302: _RENAMEAT, 353: _RENAMEAT},
)
_AARCH64 = _abi(
    *(0xC00000B7, 198, (117, 217, 218, 219, 241, 270, 271, 280, 282, 425, 438)),
    {34: _MKDIRAT, 38: _RENAMEAT, 56: _OPENAT, 276: _RENAMEAT},
)
_ARM = _abi(
    *(0x40000028, 281, (26, 309, 310, 311, 364, 376, 377, 386, 388, 425, 438, 102)),
    _ON_32 | {322: _OPENAT, 323: _MKDIRAT, 329: _RENAMEAT, 382: _RENAMEAT},
)
_MACHINES = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM)}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_OPENAT2 = 437  # everywhere; its flags are in memory, and whoever uses it knows to do without


def number(machine: str | None = None) -> int:
    """Return the number of seccomp(2) itself."""
    return _SECCOMP[machine or os.uname().machine]


def program(machine: str | None = None, *, watched: bool = False) -> bytes:
    """Return the filter for `machine`, this one by default; empty for one whose numbers are not known.

    If it is `watched`, a listener answers for what is refused else, and is asked about more.
    """
    abis = _MACHINES.get(machine or os.uname().machine, ())
    if not abis:
        return b""
    words = [_word(_LOAD, _ARCH)]
    for abi in abis:
        rules = _rules(abi, watched=watched)
        words += [_word(_EQUAL, abi.arch, 0, len(rules)), *rules]
    return b"".join([*words, _refuse(errno.ENOSYS)])


def meaning(arch: int, called: int) -> Call:
    """Say what a call that was asked about does."""
    [abi] = (abi for abis in _MACHINES.values() for abi in abis if abi.arch == arch)
    return SOCKET if called == abi.socket else abi.writes.get(called) or Call(abi.refused[called])


def _rules(abi: _Abi, *, watched: bool) -> list[bytes]:
    families = [_word(_LOAD, _FIRST_ARGUMENT)]
    families += _return_if(_SILENT if watched else CONTAINED, _word(_RETURN, _ALLOW))
    families.append(_word(_RETURN, _ASK) if watched else _refuse(errno.EAFNOSUPPORT))
    refusal = _word(_RETURN, _ASK) if watched else _refuse(errno.EPERM)
    return [
        _word(_LOAD, _NUMBER),
        *(_word(_AT_LEAST, _X32, 0, 1), _refuse(errno.ENOSYS)),
        *_return_if(abi.refused, refusal),
        *(_word(_EQUAL, abi.socket, 0, len(families)), *families),
        *(word for called, call in abi.writes.items() if watched for word in _ask(called, call)),
        *(_return_if([_OPENAT2], _refuse(errno.ENOSYS)) if watched else ()),
        _word(_RETURN, _ALLOW),
    ]


def _ask(called: int, call: Call) -> list[bytes]:
    """Have the listener asked about a call, if it writes."""
    if call.flags is None:
        return _return_if([called], _word(_RETURN, _ASK))
    flags = [_word(_LOAD, _FIRST_ARGUMENT + 8 * call.flags), _word(_ANY_OF, _WRITES, 0, 1), _word(_RETURN, _ASK)]
    return [_word(_EQUAL, called, 0, len(flags) + 1), *flags, _word(_RETURN, _ALLOW)]


def _return_if(values: Iterable[int], answer: bytes) -> list[bytes]:
    return [word for value in values for word in (_word(_EQUAL, value, 0, 1), answer)]


def _refuse(error: int) -> bytes:
    return _word(_RETURN, _ERRNO | error)


def _word(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter; jumps count the words that are left out."""
    return struct.pack("<HBBI", code, if_true, if_false, value)
