"""Numbers for a reader: shares in per cent, differences with their sign, counts, durations."""

from __future__ import annotations

from videossl.downstream.declarations import Metric

DASH = "–"
MINUS = "−"


def shown(value: float, metric: Metric, decimals: int) -> str:
    """A value without its unit: per cent of a share, else the number with two decimals more."""
    text = f"{100 * value:.{decimals}f}" if metric.share else f"{value:.{decimals + 2}f}"
    return text.replace("-", MINUS)


def with_unit(value: float, metric: Metric, decimals: int) -> str:
    """A value with its unit, for a sentence: ``71.2 %``."""
    return shown(value, metric, decimals) + unit(metric)


def unit(metric: Metric) -> str:
    """What follows a value in a sentence."""
    return " %" if metric.share else ""


def change(difference: float, metric: Metric, decimals: int) -> str:
    """A signed difference (of shares in points), with a real minus sign and no negative zero."""
    scale, places = (100, decimals) if metric.share else (1, decimals + 2)
    value = round(scale * difference, places) + 0.0
    return f"{value:+.{places}f}".replace("-", MINUS)


def direction(difference: float, metric: Metric, decimals: int) -> str:
    """``up`` for a change to the better as it is shown, ``down`` to the worse, else ``none``."""
    scale, places = (100, decimals) if metric.share else (1, decimals + 2)
    value = round(scale * difference, places) * (1 if metric.better == "high" else -1)
    return "up" if value > 0 else "down" if value < 0 else "none"


def counted(count: int, noun: str) -> str:
    """``1 video``, ``1,200 videos``."""
    plural = {"class": "classes"}.get(noun, f"{noun}s")
    return f"{count:,} {noun if count == 1 else plural}"


def joined(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def duration(seconds: float) -> str:
    """Seconds for a reader: ``4.2 s``, ``1 min 33 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
