"""Which file systems of a guest are full, from what its shell prints."""

import pytest

from orchestrator.trial import room

MOUNTS = """\
rootfs / rootfs rw,size=84384k,nr_inodes=21096 0 0
proc /proc proc rw,relatime 0 0
devtmpfs /dev devtmpfs rw,relatime,size=84384k,nr_inodes=21096,mode=755 0 0
tmp /tmp tmpfs rw,relatime 0 0
root /newroot 9p ro,sync,dirsync,relatime,access=client,trans=virtio 0 0
tmp /newroot/tmp tmpfs rw,relatime 0 0
/dev/vda /newroot/mnt/disk ext4 rw,relatime 0 0
huge /mnt/huge hugetlbfs rw,relatime,pagesize=2M 0 0
Filesystem           1024-blocks    Used Available Capacity Mounted on
rootfs                   84384     12624     71760  15% /
"""
ROOMY = "tmp                      96448         0     96448   0% /tmp\n"


@pytest.mark.parametrize(
    ("said", "full"),
    [
        (ROOMY, []),
        ("tmp 96448 96448 0 100% /tmp\ntmp 96448 96448 0 100% /newroot/tmp\n", ["/tmp"]),
        ("/dev/vda 63461 58843 0 100% /newroot/mnt/disk\n", ["/mnt/disk"]),
        ("root 9000 9000 0 100% /newroot\n", []),
        ("huge 4096 4096 0 100% /mnt/huge\n", []),
        ("none 9 9 0 100% /never/mounted\n", []),
        ("devtmpfs 84384 84384 0 100% /dev\n\xff\n", ["/dev"]),
    ],
    ids=["roomy", "seen twice", "a disk in the user's root", "read-only", "huge pages", "forged", "no UTF-8"],
)
def test_what_can_be_written_to_and_has_no_room_left_is_named(said: str, full: list[str]) -> None:
    assert room.full((MOUNTS + said).encode("latin-1")) == full


def test_a_listing_that_was_cut_off_names_nothing() -> None:
    assert room.full(b"") == []
