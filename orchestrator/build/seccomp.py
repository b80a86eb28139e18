"""System calls that no namespace contains, refused by a filter of classic BPF (seccomp(2)) that bwrap loads.

The user's keyrings follow a process everywhere; sockets of some families (AF_VSOCK: the hypervisor) know no network
namespace, and io_uring opens sockets behind a filter's back; who traces can change what the sandbox's init, which is
bwrap's, tells the outside; bpf, perf and userfaultfd are of no use to a build.
"""

import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, |JGE|K, BPF_RET|K
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little-endian
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_X32 = 0x40000000  # calls of the x32 ABI, which have the arch of x86_64
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK


@dataclass(frozen=True)
class _Abi:
    """How one machine calls the kernel: its AUDIT_ARCH, the number of socket(2), and the numbers that are refused."""

    arch: int
    socket: int
    refused: tuple[int, ...]


# ptrace, add_key, request_key, keyctl, perf_event_open, process_vm_readv, process_vm_writev, bpf, userfaultfd,
# io_uring_setup, pidfd_getfd; and where there is one, socketcall, whose arguments a filter does not see.
_X86_64 = _Abi(0xC000003E, 41, (101, 248, 249, 250, 298, 310, 311, 321, 323, 425, 438))
_I386 = _Abi(0x40000003, 359, (26, 286, 287, 288, 336, 347, 348, 357, 374, 425, 438, 102))
_AARCH64 = _Abi(0xC00000B7, 198, (117, 217, 218, 219, 241, 270, 271, 280, 282, 425, 438))
_ARM = _Abi(0x40000028, 281, (26, 309, 310, 311, 364, 376, 377, 386, 388, 425, 438, 102))
_MACHINES = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM)}


def program(machine: str | None = None) -> bytes:
    """Return the filter for `machine`, this one by default; empty for one whose numbers are not known."""
    abis = _MACHINES.get(machine or os.uname().machine, ())
    if not abis:
        return b""
    words = [_word(_LOAD, _ARCH)]
    for abi in abis:
        rules = _rules(abi)
        words += [_word(_EQUAL, abi.arch, 0, len(rules)), *rules]
    return b"".join([*words, _refuse(errno.ENOSYS)])


def _rules(abi: _Abi) -> list[bytes]:
    families = [_word(_LOAD, _FIRST_ARGUMENT), *_return_if(_FAMILIES, _word(_RETURN, _ALLOW))]
    families.append(_refuse(errno.EAFNOSUPPORT))
    return [
        _word(_LOAD, _NUMBER),
        *(_word(_AT_LEAST, _X32, 0, 1), _refuse(errno.ENOSYS)),
        *_return_if(abi.refused, _refuse(errno.EPERM)),
        *(_word(_EQUAL, abi.socket, 0, len(families)), *families),
        _word(_RETURN, _ALLOW),
    ]


def _return_if(values: Iterable[int], answer: bytes) -> list[bytes]:
    return [word for value in values for word in (_word(_EQUAL, value, 0, 1), answer)]


def _refuse(error: int) -> bytes:
    return _word(_RETURN, _ERRNO | error)


def _word(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter; jumps count the words that are left out."""
    return struct.pack("<HBBI", code, if_true, if_false, value)
