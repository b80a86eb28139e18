"""Makefiles as the kernel writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.build.kbuild_options import options_for

FILES = {
    "Makefile": "core-y\t\t:= init/ usr/\ndrivers-y := drivers/\ncore-y += mm/\n",
    "mm/Makefile": (
        "mmu-y := nommu.o\nmmu-$(CONFIG_MMU) := highmem.o memory.o \\\n\t\t\t mincore.o mlock.o\n"
        "obj-y := filemap.o $(mmu-y)\nobj-y += mmu.o\n"
        "obj-$(CONFIG_ZSWAP)\t+= zswap.o\nobj-$(CONFIG_KASAN)\t+= kasan/\n"
        "ifdef CONFIG_MMU\n\tobj-$(CONFIG_ADVISE_SYSCALLS)\t+= madvise.o\nendif\n"
    ),
    "mm/kasan/Makefile": "obj-y := common.o\nobj-$(CONFIG_KASAN_HW) += hw.o\n",
    "drivers/Makefile": "obj-$(CONFIG_NET) += net/ # all of it\n",
    "drivers/net/Makefile": "obj-$(CONFIG_VIRTIO_NET) += vnet.o\nvnet-y := core.o\nvnet-$(CONFIG_VNET_XDP) += xdp.o\n",
    "loop/Makefile": "a-y := b.o\nb-y := a.o\n",
}


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("mm/filemap.c", ()),
        ("mm/zswap.c", ("ZSWAP",)),
        ("mm/madvise.c", ("ADVISE_SYSCALLS",)),
        ("mm/mincore.c", ("MMU",)),
        ("mm/kasan/common.c", ("KASAN",)),
        ("mm/kasan/hw.c", ("KASAN", "KASAN_HW")),
        ("drivers/net/core.c", ("NET", "VIRTIO_NET")),
        ("drivers/net/xdp.c", ("NET", "VIRTIO_NET", "VNET_XDP")),
        ("mm/unknown.c", None),
        ("loop/a.c", None),
        ("Documentation/x.rst", None),
        ("include/linux/mm.h", None),
    ],
)
def test_a_file_waits_for_the_options_on_its_way_to_the_top(file: str, options: tuple[str, ...] | None) -> None:
    assert options_for(file, FILES.get) == options


def test_objects_that_are_made_of_each_other_end() -> None:
    names = "abcdefgh"
    loops = "".join(f"{name}-y := x.o {' '.join(f'{other}.o' for other in names)}\n" for name in names)
    assert options_for("mm/x.c", {"mm/Makefile": loops, "Makefile": "core-y := mm/\n"}.get) is None
    out = {"mm/Makefile": f"{loops}obj-$(CONFIG_D) += d.o\n", "Makefile": "core-y := mm/\n"}
    assert options_for("mm/x.c", out.get) == ("D",)


@given(st.text(), st.text())
def test_any_text_gives_an_answer(file: str, text: str) -> None:
    options_for(f"a/{file}.c", lambda _: text)
