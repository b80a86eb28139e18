"""What a trial relies on, of every kind of guest: the scripted one must not promise what the real one does not keep."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from kvm.errors import BootError, GuestLost
from kvm.guest import CommandResult, Guest
from tests.scripted import program


class GuestContract:
    """Run against both; a subclass gives the fixtures `booted` and `broken`, which boot a good and a bad kernel."""

    Booted = Callable[[], AbstractContextManager[Guest]]

    @pytest.fixture
    def execute(self, tmp_path: Path) -> Callable[..., CommandResult]:
        """Push a program into a guest and run it."""

        def push_and_run(alive: Guest, *lines: str, timeout: float = 60) -> CommandResult:
            path = tmp_path / "program"
            path.write_text(program(*lines))
            alive.push(path, "/tmp/program")
            return alive.run("/tmp/program", timeout=timeout)

        return push_and_run

    def test_a_program_gives_its_status_and_its_words_apart(self, booted: Booted, execute) -> None:
        with booted() as alive:
            done = execute(alive, "say 'ok 1 a'", "complain 'oh no'", "exit 3")
        assert (done.exit_status, done.stdout, done.stderr) == (3, b"ok 1 a\n", b"oh no\n")
        assert not done.timed_out
        assert not done.truncated

    def test_boot_leaves_a_console_and_a_way_to_boot_by_hand(self, booted: Booted, tmp_path: Path) -> None:
        with booted() as alive:
            assert alive.boot_seconds > 0
            assert (alive.console.parent / "boot" / "console.log").stat().st_size
            assert alive.console.is_file()
            assert alive.console.with_name("qemu.sh").stat().st_size

    def test_a_line_for_the_kernel_log_reaches_the_console(self, booted: Booted) -> None:
        with booted() as alive:
            alive.log_line("suite x starts")
            alive.run("true", timeout=60)
        assert "kdelta: suite x starts" in alive.console.read_text(errors="replace")

    def test_a_program_out_of_time_keeps_what_it_said_and_the_guest(self, booted: Booted, execute) -> None:
        with booted() as alive:
            done = execute(alive, "say early", "nap 3000", "say late", timeout=5)
            assert (done.timed_out, done.exit_status, done.stdout) == (True, -1, b"early\n")
            assert execute(alive, "exit 0").exit_status == 0

    def test_a_panic_under_a_program_is_a_lost_guest_of_that_kind_with_what_was_said(
        self, booted: Booted, execute
    ) -> None:
        with booted() as alive:
            with pytest.raises(GuestLost) as caught:
                execute(alive, "say 'ok 1 a'", "nap 0.5", "panic")
            assert (caught.value.kind, caught.value.stdout) == ("panic", b"ok 1 a\n")
            reason = caught.value.message.removeprefix("panic: ")
            assert f"Kernel panic - not syncing: {reason}\n" in alive.console.read_text(errors="replace")

    def test_a_reboot_without_a_panic_ends_the_guest_and_it_stays_so(self, booted: Booted, execute) -> None:
        with booted() as alive:
            with pytest.raises(GuestLost) as caught:
                execute(alive, "say 'ok 1 a'", "nap 0.5", "die")
            assert (caught.value.kind, caught.value.stdout) == ("reboot", b"ok 1 a\n")
            with pytest.raises(GuestLost):
                alive.log_line("are you there")

    def test_a_panic_at_boot_is_a_boot_error_with_console_and_remedy(self, broken: Booted) -> None:
        with pytest.raises(BootError) as caught, broken():
            pass
        assert caught.value.kind == "panic"
        assert caught.value.log
        assert "panic" in caught.value.log.read_text(errors="replace")
        assert "qemu.sh" in (caught.value.hint or "")
