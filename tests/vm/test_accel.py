"""What is said of this host's accelerators, with real kernels."""

from pathlib import Path

import pytest

from kvm import accel
from kvm.arch import ACCELS, DEFAULT, get
from tests.conftest import Kdelta

pytestmark = pytest.mark.vm


@pytest.mark.parametrize("name", DEFAULT)
def test_an_accelerator_is_measured_once_and_remembered(name: str, images: dict[str, Path], tmp_path: Path) -> None:
    found = accel.choose(get(name), lambda: images[name], tmp_path)
    row = ACCELS[found.used]
    assert found.measured, found.words
    assert row.least <= found.scale <= row.most
    assert accel.choose(get(name), lambda: images[name], tmp_path) == found
    assert [note.name.split("-")[0] for note in (tmp_path / "accel").iterdir()] == [name]


def test_doctor_tells_how_a_real_kernel_fares_under_every_processor_model(
    images: dict[str, Path], shared_cache: Path, kdelta: Kdelta
) -> None:
    done = kdelta("doctor", "--accel", KDELTA_CACHE=str(shared_cache))
    assert done.returncode == 0, done.stderr
    lines = [line[2:] for line in done.stdout.splitlines()]

    def of(subject: str) -> str:
        return next(line for line in lines if line.startswith(f"{subject} "))

    for name, arch in zip(DEFAULT, map(get, DEFAULT), strict=True):
        assert "printed Linux version" in of(f"{name} tcg -cpu {arch.cpu['tcg']}")
        assert "limits in seconds are times" in of(f"{name} in use")
        if not accel.obstacle(arch):
            assert all("QEMU" in of(f"{name} kvm -cpu {model}") for model in arch.suspects)
    assert str(shared_cache) not in done.stdout
