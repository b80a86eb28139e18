"""How numbers are written."""

DASH = "—"


def counted(number: int, what: str) -> str:
    """So many of something: `1 test`, `2 tests`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def number(value: float | None) -> str:
    """A measured value in about four digits, thousands set apart."""
    if value is None:
        return DASH
    if abs(value) >= 1000 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.4g}"


def times(value: float | None) -> str:
    """A ratio: x1.25."""
    return DASH if value is None else f"x{value:,.2f}"


def duration(seconds: float | None) -> str:
    """A time: 0.7 s, 12 s, 4 min 31 s."""
    if seconds is None:
        return DASH
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{int(seconds) // 60:,} min {int(seconds) % 60} s"


def size(amount: int) -> str:
    """Bytes or characters: 900 B, 64.0 KiB, 1.2 MiB."""
    if amount < 1024:
        return f"{amount} B"
    return f"{amount / 1024:.1f} KiB" if amount < 1024 * 1024 else f"{amount / 1024 / 1024:.1f} MiB"
