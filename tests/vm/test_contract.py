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
    def booted(self, proven: Machine, tmp_path: Path) -> GuestContract.Booted:
        return lambda: boot(proven, tmp_path)

    @pytest.fixture
    def broken(self, proven: Machine, tmp_path: Path) -> GuestContract.Booted:
        nothing = tmp_path / "not-an-archive"
        nothing.write_bytes(b"x" * 512)

        def panics() -> AbstractContextManager[Guest]:
            return boot(replace(proven, initrd=nothing), tmp_path)

        return panics
