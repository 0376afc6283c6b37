"""Numbers for people: one function per unit, the same in the terminal and in HTML."""

from __future__ import annotations

MISSING = "–"
_KIB, _MIB = 1024, 1 << 20


def size(count_bytes: float | None) -> str:
    """Bytes as B, KiB or MiB with three figures, e.g. "2.61 MiB"."""
    if count_bytes is None:
        return MISSING
    if abs(count_bytes) < _KIB:
        return f"{count_bytes:.0f} B"
    if abs(count_bytes) < _MIB:
        return f"{three(count_bytes / _KIB)} KiB"
    return f"{three(count_bytes / _MIB)} MiB"


def milliseconds(value: float | None) -> str:
    """Milliseconds with three figures, e.g. "3.07 ms"."""
    return MISSING if value is None else f"{three(value)} ms"


def seconds(value: float | None) -> str:
    """Seconds, e.g. "0.4 s" or "2 min 5 s"."""
    if value is None:
        return MISSING
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def percent(fraction: float | None, digits: int = 1) -> str:
    """A share of 0..1 as a percentage, e.g. "88.4 %"."""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f} %"


def decibels(ratio: float | None) -> str:
    """A signal-to-noise ratio in dB, the unit left out, e.g. "23.8"."""
    return MISSING if ratio is None else f"{ratio:.1f}"


def points(fraction: float | None) -> str:
    """A difference of two shares in percentage points with its sign, e.g. "−0.6"."""
    if fraction is None:
        return MISSING
    rounded = round(100 * fraction, 1)
    return "±0.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", "−")


def interval(bounds: list[float] | tuple[float, float] | None) -> str:
    """An interval of shares in percent, e.g. "86.1–90.4"."""
    return MISSING if not bounds else f"{100 * bounds[0]:.1f}–{100 * bounds[1]:.1f}"


def times(ratio: float | None) -> str:
    """A ratio, e.g. "2.41×"."""
    return MISSING if ratio is None else f"{three(ratio)}×"


def magnitude(count: float | None) -> str:
    """A large count with its SI letter, e.g. "56.5 M"."""
    if count is None:
        return MISSING
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= limit:
            return f"{three(count / limit)} {letter}"
    return f"{count:g}"


def three(value: float) -> str:
    """A number with three significant figures, whole numbers above 1,000 with commas, an exponent below 0.0001."""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    if abs(value) < 0.09995:
        return f"{value:#.3g}"
    limits = (99.95, 9.995, 0.9995)
    return f"{value:.{sum(abs(value) < limit for limit in limits)}f}"


def plain(value: object) -> str:
    """Any JSON value as a cell: floats with four figures, flags as yes and no, lists joined, None as a dash."""
    if value is None or value in ([], (), {}):
        return MISSING
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    return str(value) if isinstance(value, str) else _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)


def axis(value: float) -> str:
    """A round number at an axis, without trailing zeros."""
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"


def signed(value: float) -> str:
    """A number with three significant figures and a typeset minus."""
    return three(value).replace("-", "−", 1) if value < 0 else three(value)
