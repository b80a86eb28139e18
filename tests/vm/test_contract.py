"""The real guest keeps what trials rely on."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from kvm.guest import Guest
from kvm.qemu import Machine
from tests.contract import GuestContract
from tests.vm.conftest import booted as boot

pytestmark = pytest.mark.vm


class TestRealGuest(GuestContract):
    @pytest.fixture
    def booted(self, machine: Machine, tmp_path: Path) -> GuestContract.Booted:
        return lambda: boot(machine, tmp_path)

    @pytest.fixture
    def broken(self, machine: Machine, tmp_path: Path) -> GuestContract.Booted:
        nothing = tmp_path / "not-an-archive"
        nothing.write_bytes(b"x" * 512)

        def panics() -> AbstractContextManager[Guest]:
            return boot(replace(machine, initrd=nothing), tmp_path)

        return panics
