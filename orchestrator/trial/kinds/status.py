"""Exit statuses as a shell gives them."""

import signal

_BY_SIGNAL = 128


def name_of_signal(status: int) -> str | None:
    """Return the name of the signal that ended the program; None if none did."""
    number = status - _BY_SIGNAL
    if not 0 < number <= signal.SIGRTMAX:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
