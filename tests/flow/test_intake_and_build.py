"""Trees and series in, images out: real git, real make, the real sandbox, a fake tree."""

import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kvm.errors import BuildError, UserError
from orchestrator.build import kbuild, objdir
from orchestrator.build.kconfig import Wish
from orchestrator.build.order import Order
from orchestrator.build.sandbox import Sandbox
from orchestrator.intake import mail, series, source, tree
from orchestrator.model import Cell, Side
from tests.conftest import processes
from tests.flow.conftest import QUOTA, git

LINES = [f"line {number}\n" for number in range(40)]
EDITED = "".join([*LINES[:5], "five and a half\n", *LINES[5:]])


def misbehave(fakelinux: Path, deed: str, at: str = "tinyconfig:\n") -> None:
    """Let `make tinyconfig` do something first, or behind another line of the Makefile: a line of shell."""
    makefile = fakelinux / "Makefile"
    makefile.write_text(makefile.read_text().replace(at, f"{at}\t{deed}\n"))
    git(fakelinux, "add", ".")
    git(fakelinux, "commit", "-q", "-m", "a deed")


def order(files: str, origin: source.Source, wish: str = "CONFIG_TINY=y\n") -> Order:
    made = Order(Cell(Side.BASE, "x86_64", "fast"), origin, origin.tree, Wish("tinyconfig", wish), 2, 60, QUOTA)
    if files == origin.tree:
        return made
    return replace(made, cell=replace(made.cell, side=Side.PATCHED), files=files, start=made)


def test_a_series_comes_out_as_the_tree_that_its_author_had(fakelinux: Path, make_series, tmp_path: Path) -> None:
    path = make_series(EDITED, EDITED.upper())
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    applied = series.apply(mail.read(path).mails, origin)
    assert applied.tree == git(fakelinux, "rev-parse", "topic^{tree}")
    assert [patch.subject for patch in applied.series.patches] == ["mm: step 0", "mm: step 1"]
    assert applied.series.patches[0].author == "A Developer <a@example.org>"
    assert applied.series.patches[0].files == ("mm/madvise.c",)
    assert origin.release == "6.1.0-fake"


def test_the_same_series_gives_the_same_commits(fakelinux: Path, make_series, tmp_path: Path) -> None:
    mails = mail.read(make_series(EDITED)).mails
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    assert series.apply(mails, origin) == series.apply(mails, origin)


def test_the_users_repository_is_not_touched(fakelinux: Path, make_series, tmp_path: Path) -> None:
    path = make_series(EDITED)
    before = {file: file.read_bytes() for file in fakelinux.rglob("*") if file.is_file()}
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    applied = series.apply(mail.read(path).mails, origin)
    tree.checkout(origin, applied.tree, tmp_path / "cache")
    assert {file: file.read_bytes() for file in fakelinux.rglob("*") if file.is_file()} == before


def test_a_patch_that_does_not_apply_is_named_with_file_and_hunk(fakelinux: Path, make_series, tmp_path: Path) -> None:
    second = [*LINES[:5], "five and a half\n", *LINES[5:30], "thirty\n", *LINES[31:]]
    path = make_series("".join(second))
    [patch] = path.glob("0001*")
    patch.write_text(patch.read_text().replace("-line 30", "-line XX"))
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with pytest.raises(UserError) as caught:
        series.apply(mail.read(path).mails, origin)
    assert "0001-mm-step-0.patch" in caught.value.message
    assert "hunk 2 of 2 of mm/madvise.c" in caught.value.message


def test_an_mbox_and_an_empty_directory_are_series(fakelinux: Path, make_series, tmp_path: Path) -> None:
    path = make_series(EDITED, EDITED.upper())
    mbox = tmp_path / "all.mbox"
    mbox.write_bytes(b"".join(file.read_bytes() for file in sorted(path.iterdir(), reverse=True)))
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    assert series.apply(mail.read(mbox).mails, origin).tree == git(fakelinux, "rev-parse", "topic^{tree}")
    (tmp_path / "none").mkdir()
    assert series.apply(mail.read(tmp_path / "none").mails, origin).tree == origin.tree


def test_a_directory_without_a_patch_and_a_path_without_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="holds no patch"):
        mail.read(tmp_path)
    with pytest.raises(UserError, match="no such series"):
        mail.read(tmp_path / "nowhere")


def test_a_tarball_becomes_a_tree_once(fakelinux: Path, tmp_path: Path) -> None:
    ball = tmp_path / "linux.tar"
    subprocess.run(["git", "archive", "--prefix=linux/", "-o", ball, "main"], cwd=fakelinux, check=True)
    origin = source.resolve(f"tar:{ball}", None, tmp_path / "cache")
    assert origin.tree == git(fakelinux, "rev-parse", "main^{tree}")
    assert source.resolve(f"tar:{ball}", None, tmp_path / "cache") == origin


@pytest.mark.parametrize("spec", ["linux", "git:/nowhere", "tar:/nowhere.tar", "debian:linux-source-5.10", "svn:x"])
def test_a_source_that_is_not_understood_is_the_users_fault(spec: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        source.resolve(spec, None, tmp_path / "cache")


def test_a_build_is_kept_found_and_verified(fakelinux: Path, tmp_path: Path) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    origin = source.resolve(f"git:{fakelinux}", None, cache)
    wanted = order(origin.tree, origin)
    first = kbuild.build(wanted, cache, log)
    assert not first.cached
    assert first.image.read_text() == "".join(LINES)
    again = kbuild.build(wanted, cache, log)
    assert again == replace(first, cached=True)
    first.image.chmod(0o644)
    first.image.write_text("rot")
    assert kbuild.find(wanted, cache) is None
    assert kbuild.build(wanted, cache, log).image.read_text() == "".join(LINES)


def test_moving_between_trees_rebuilds_what_differs_in_both_directions(fakelinux: Path, make_series, tmp_path) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    path = make_series(EDITED)
    origin = source.resolve(f"git:{fakelinux}", None, cache)
    applied = series.apply(mail.read(path).mails, origin)
    tree.checkout(origin, applied.tree, cache)  # its files are older than base's objects
    base, patched = order(origin.tree, origin), order(applied.tree, origin)
    kbuild.build(base, cache, log)
    assert (objdir.holds(base, cache), objdir.holds(patched, cache)) == (True, False)
    assert kbuild.build(patched, cache, log).image.read_text() == EDITED
    assert (objdir.holds(base, cache), objdir.holds(patched, cache)) == (True, True)
    assert not objdir.holds(replace(patched, files=git(fakelinux, "rev-parse", "topic~1^{tree}")), cache)
    kbuild.shutil.rmtree(cache / "builds")
    assert kbuild.build(order(origin.tree, origin), cache, log).image.read_text() == "".join(LINES)


def test_kernels_with_the_same_image_and_other_modules_are_not_the_same(
    fakelinux: Path, make_series, tmp_path: Path
) -> None:
    make_module = "mkdir -p $(O)/drivers; cp drivers/foo.c $(O)/drivers/foo.ko"
    misbehave(fakelinux, f"@{make_module}; echo kernel/drivers/foo.ko >$(O)/modules.order", "modules:\n")
    cache, log = tmp_path / "cache", tmp_path / "log"
    origin = source.resolve(f"git:{fakelinux}", None, cache)
    (fakelinux / "drivers" / "foo.c").write_text("another module\n")
    git(fakelinux, "commit", "-q", "-a", "-m", "drivers: another")
    after = git(fakelinux, "rev-parse", "HEAD^{tree}")
    wish = "CONFIG_TINY=y\nCONFIG_FOO=m\n"
    base, patched = (kbuild.build(order(files, origin, wish), cache, log) for files in (origin.tree, after))
    assert base.image_sha256 == patched.image_sha256
    assert base.identity != patched.identity
    assert base.modules_sha256 and kbuild.build(order(origin.tree, origin, wish), cache, log).identity == base.identity


def test_a_directory_where_ccache_keeps_its_numbers_is_a_build_that_fails(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "@mkdir -p $(O)/.ccache-stats", "olddefconfig:\n")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with pytest.raises(BuildError, match=r"\.ccache-stats: Is a directory"):
        kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")


def test_a_tree_that_does_not_compile_names_the_error_and_can_be_built_once_mended(
    fakelinux: Path, make_series, tmp_path: Path
) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    path = make_series("SYNTAX\n", EDITED)
    origin = source.resolve(f"git:{fakelinux}", None, cache)
    broken = series.apply(mail.read(path).mails[:2], origin)
    with pytest.raises(BuildError, match=r"mm/madvise\.c:1:1: error: SYNTAX"):
        kbuild.build(order(broken.tree, origin), cache, log)
    whole = series.apply(mail.read(path).mails, origin)
    assert kbuild.build(order(whole.tree, origin), cache, log).image.read_text() == EDITED


def test_objects_of_a_make_that_was_killed_at_its_deadline_are_not_trusted(fakelinux: Path, tmp_path: Path) -> None:
    makefile = fakelinux / "Makefile"
    makefile.write_text(makefile.read_text().replace("\t@echo COMPILED;", "\t@sleep 60; echo COMPILED;"))
    git(fakelinux, "commit", "-q", "-a", "-m", "slow")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    wanted = replace(order(origin.tree, origin), limit_seconds=2.0)
    with pytest.raises(BuildError, match="did not end in 2 s"):
        kbuild.build(wanted, tmp_path / "cache", tmp_path / "log")
    assert len(list(tmp_path.glob("cache/objects/*.half-built"))) == 1


@pytest.mark.parametrize("deed", ["kill -9 $$PPID", "sleep 60.25"])
def test_a_make_that_somebody_kills_has_not_failed_and_its_objects_are_not_trusted(
    fakelinux: Path, tmp_path: Path, deed: str
) -> None:
    misbehave(fakelinux, deed, "$(O)/built: mm/madvise.c\n")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")

    def kill() -> None:
        while not processes("sleep 60.25"):
            time.sleep(0.05)
        box = next(line for line in processes(f"{tmp_path}/cache/objects") if line.split()[1] == "bwrap")
        os.kill(int(box.split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill if deed == "sleep 60.25" else str)
    killer.start()
    with pytest.raises(BuildError, match="make bzImage was killed by signal 9") as caught:
        kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")
    killer.join()
    assert caught.value.unfinished
    assert len(list(tmp_path.glob("cache/objects/*.half-built"))) == 1


@pytest.mark.parametrize(
    "deed",
    [
        "sh -c 'kill -9 $$$$'",
        "sh -c 'kill -9 $$$$' || (exit $$?)",
        "echo 'gcc: fatal error: Killed signal terminated program cc1' >&2; false",
    ],
    ids=["of make's own", "of a shell's", "of the compiler's"],
)
def test_a_program_of_make_s_that_somebody_kills_has_not_failed_either(
    fakelinux: Path, tmp_path: Path, deed: str
) -> None:
    misbehave(fakelinux, deed, "$(O)/built: mm/madvise.c\n")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with pytest.raises(BuildError, match="make bzImage: a program of it was killed: ") as caught:
        kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")
    assert caught.value.unfinished


def test_a_dropped_option_is_a_hard_error_that_names_it(fakelinux: Path, tmp_path: Path) -> None:
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with pytest.raises(UserError, match="olddefconfig dropped CONFIG_BROKEN"):
        kbuild.build(order(origin.tree, origin, "CONFIG_BROKEN=y\n"), tmp_path / "cache", tmp_path / "log")


def test_two_builds_of_one_tree_at_once_compile_it_once(fakelinux: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    origin = source.resolve(f"git:{fakelinux}", None, cache)
    made: list[kbuild.KernelBuild] = []
    threads = [
        threading.Thread(
            target=lambda n=number: made.append(kbuild.build(order(origin.tree, origin), cache, tmp_path / n))
        )
        for number in ("a", "b", "c")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(build.cached for build in made) == [False, True, True]


HOG = "b = []\nwhile True: b.append(b'x' * (1 << 22))"


@pytest.mark.parametrize(
    ("deed", "charge"),
    [
        ("f() { f | f & }; f; sleep 60", "more than 50 processes at once"),
        (f'python3 -c "{HOG}"', "more than 256 MiB of memory at once"),
        ("dd if=/dev/zero of=/tmp/x bs=1M count=2000", "No space left on device"),
        ("dd if=/dev/zero of=/dev/shm/x bs=1M count=100", "Read-only file system"),
    ],
)
def test_a_makefile_that_takes_all_it_can_get_is_ended_and_reported(
    fakelinux: Path, tmp_path: Path, deed: str, charge: str
) -> None:
    name = f"{secrets.token_hex(8)}.sh"  # another run of this test may go on beside
    (fakelinux / name).write_text(f"{deed}\n")
    misbehave(fakelinux, f"bash /src/{name}")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with pytest.raises(BuildError) as caught:
        kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")
    assert charge in caught.value.message + (tmp_path / "log").read_text()
    deadline = time.monotonic() + 10  # the kernel takes a namespace of processes down by and by
    while running(name) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(name)


def running(word: str) -> bool:
    return word in subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout


def test_a_makefile_sees_no_home_no_network_and_cannot_write_the_sources(
    fakelinux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    monkeypatch.setenv("HOME", str(tmp_path))  # below /home there would be decoys
    (tmp_path / "id_ed25519").write_text("a private key")
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = f"import socket; socket.create_connection({server.getsockname()})"
        spy = f"@ls -A /home /root 2>&1 | head -3; touch /src/x; cat /proc/net/dev {tmp_path}/id_ed25519; true\n"
        spy += f'\t@python3 -c "{call}" 2>&1; env'
        misbehave(fakelinux, spy)
        origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
        kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")
    text = (tmp_path / "log").read_text()
    assert "a private key" not in text
    assert "ConnectionRefusedError" in text
    assert "SSH_AUTH_SOCK" not in text
    assert "touch: cannot touch '/src/x': Read-only file system" in text
    assert "cannot access '/home'" in text
    assert "eth0" not in text


@pytest.mark.parametrize("damage", ["changed", "missing", "more"])
def test_a_damaged_checkout_is_laid_out_anew_before_a_build_from_nothing(
    fakelinux: Path, tmp_path: Path, damage: str
) -> None:
    cache_dir = tmp_path / "cache"
    origin = source.resolve(f"git:{fakelinux}", None, cache_dir)
    file = tree.checkout(origin, origin.tree, cache_dir) / "mm" / "madvise.c"
    match damage:
        case "changed":
            file.write_text("rot")
        case "missing":
            file.unlink()
        case "more":
            file.with_name("GNUmakefile").write_text("rot")
    made = kbuild.build(order(origin.tree, origin), cache_dir, tmp_path / "log")
    assert made.image.read_text() == "".join(LINES)
    assert sorted(path.name for path in file.parent.iterdir()) == ["madvise.c"]


@pytest.mark.parametrize(
    ("deed", "left"),
    [
        ("ln -sf {outside} /build/.config", ".config"),
        ("rm /build/.config; mkfifo /build/.config", ".config"),
        ("mkdir -p /build/arch/arm64; ln -s {outside} /build/arch/arm64/boot", "arch/arm64/boot"),
        ("ln -s ../../../etc /build/etc", "etc"),
        ("ln -sf /src/Makefile /build/.config", ".config"),
    ],
)
def test_a_makefile_that_leaves_a_way_out_is_found_before_anyone_follows_it(
    fakelinux: Path, tmp_path: Path, deed: str, left: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (fakelinux / "deed.sh").write_text(deed.format(outside=outside))
    misbehave(fakelinux, "sh /src/deed.sh; exit 0", at=">$(O)/.config\n")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    with pytest.raises(BuildError, match=f"the build left {left}, which is no file of its own"):
        kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")
    assert outside.read_text() == "mine"


def test_links_as_kbuild_makes_them_are_no_way_out(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "ln -fsn /src /build/source; mkdir -p /build/a/b; ln -fsn ../../.config /build/a/b/link")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    assert kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log").image.is_file()


def test_what_a_makefile_leaves_running_is_over_when_make_is(fakelinux: Path, tmp_path: Path) -> None:
    misbehave(fakelinux, "(while :; do echo x >>/build/growing; done) & sleep 0.2")
    origin = source.resolve(f"git:{fakelinux}", None, tmp_path / "cache")
    kbuild.build(order(origin.tree, origin), tmp_path / "cache", tmp_path / "log")
    [growing] = tmp_path.glob("cache/objects/*/growing")
    size = growing.stat().st_size
    time.sleep(0.3)
    assert growing.stat().st_size == size


def test_the_first_command_in_a_new_cache_needs_no_other_before_it(tmp_path: Path) -> None:
    for name in ("src", "obj"):
        (tmp_path / name).mkdir()
    box = Sandbox(tmp_path / "src", tmp_path / "obj", tmp_path / "cache" / "ccache", QUOTA, trusted=True)
    assert box.run(["sh", "-c", "echo here >/ccache/x; echo out"]).output == "out\n"
    assert (tmp_path / "cache" / "ccache" / "x").read_text() == "here\n"
