"""The filter of system calls, run by hand: what it says of a call on each machine."""

import errno
import struct

import pytest

from orchestrator.build import seccomp

ALLOWED = "allowed"
X86_64, I386, AARCH64, ARM, RISCV64 = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0xC00000F3
AF_INET, AF_VSOCK = 2, 40


def verdict(machine: str, arch: int, number: int, first: int = 0) -> str:
    """Do what the kernel does with the program: classic BPF over struct seccomp_data."""
    program = seccomp.program(machine)
    memory = struct.pack("<IIQQ", number, arch, 0, first)
    words = list(struct.iter_unpack("<HBBI", program))
    place, register = 0, 0
    while True:
        code, if_true, if_false, value = words[place]
        place += 1
        match code:
            case 0x20:
                [register] = struct.unpack_from("<I", memory, value)
            case 0x15:
                place += if_true if register == value else if_false
            case 0x35:
                place += if_true if register >= value else if_false
            case 0x06:
                return ALLOWED if value == 0x7FFF0000 else errno.errorcode[value & 0xFFFF]


@pytest.mark.parametrize(
    ("machine", "arch", "socket", "keyctl", "read"),
    [
        ("x86_64", X86_64, 41, 250, 0),
        ("x86_64", I386, 359, 288, 3),
        ("aarch64", AARCH64, 198, 219, 63),
        ("aarch64", ARM, 281, 311, 3),
    ],
)
def test_each_way_to_call_the_kernel_is_filtered(machine: str, arch: int, socket: int, keyctl: int, read: int) -> None:
    assert verdict(machine, arch, read, AF_VSOCK) == ALLOWED
    assert verdict(machine, arch, socket, AF_INET) == ALLOWED
    assert verdict(machine, arch, socket, AF_VSOCK) == "EAFNOSUPPORT"
    assert verdict(machine, arch, keyctl) == "EPERM"
    for number in (425, 438):  # io_uring_setup, pidfd_getfd: the same everywhere
        assert verdict(machine, arch, number) == "EPERM"


def test_a_machine_that_is_called_in_a_way_of_another_refuses_all() -> None:
    assert verdict("x86_64", AARCH64, 63) == "ENOSYS"
    assert verdict("x86_64", X86_64, 0x40000000) == "ENOSYS"  # x32


def test_a_machine_whose_numbers_are_not_known_has_no_filter() -> None:
    assert seccomp.program("riscv64") == b""
