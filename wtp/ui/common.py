"""Figures as text, the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"


def clean(text: object) -> str:
    """Text from a peer, with everything that could steer a terminal made visible as `?`."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def ms(value: float | None) -> str:
    """Milliseconds: `0.42 ms`, `unknown` when there is no figure."""
    return UNKNOWN if value is None else f"{value:.2f} ms"


def bits(per_second: float | None) -> str:
    """A bit rate: `2.48 Mbit/s`."""
    return UNKNOWN if per_second is None else f"{_scaled(per_second, 1000, ' kMGT')}bit/s"


def size(count_bytes: float | None) -> str:
    """A size in powers of 1024: `3.2 MiB`."""
    if count_bytes is None:
        return UNKNOWN
    text = _scaled(count_bytes, 1024, " KMGT")
    return text + ("B" if text.endswith(" ") else "iB")


def _scaled(value: float, step: int, letters: str) -> str:
    index = 0
    while round(abs(value)) >= step and index < len(letters) - 1:
        value /= step
        index += 1
    large = index == 0 or abs(value) >= 999.5  # where %g would begin to write 1e+03
    number = f"{value:.0f}" if large else f"{value:.3g}"
    return f"{number} {letters[index].strip()}"


def counted(count: float, noun: str) -> str:
    """A number of things: `1 object`, `2 objects`."""
    return f"{count:.0f} {noun}" + ("" if count == 1 else "s")


def seconds(value: float) -> str:
    """A length of time: `4.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(int(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def number(figures: Mapping[str, Any], name: str) -> float:
    """A figure of a snapshot; 0 when it is missing."""
    value = figures.get(name)
    return value if isinstance(value, (int, float)) else 0


def drops(dropped: Mapping[str, int] | None) -> str:
    """Drops by reason: `3 (queue 2, stale-group 1)`, `0` when there are none."""
    counts = {clean(reason): count for reason, count in (dropped or {}).items() if count}
    if not counts:
        return "0"
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
    return f"{sum(counts.values())} ({reasons})"


def balanced(ledger: Mapping[str, Any]) -> bool:
    """Whether offered = delivered + dropped + in flight holds."""
    dropped = sum((ledger.get("dropped") or {}).values())
    rest = number(ledger, "delivered") + number(ledger, "in_flight") + dropped
    return bool(number(ledger, "offered") == rest)


def identity(ledger: Mapping[str, Any]) -> str:
    """The ledger as its equation: `300 = 298 delivered + 2 dropped + 0 in flight`."""
    sign = "=" if balanced(ledger) else "!="
    dropped = sum((ledger.get("dropped") or {}).values())
    return (
        f"{number(ledger, 'offered'):.0f} {sign} {number(ledger, 'delivered'):.0f} delivered + "
        f"{dropped} dropped + {number(ledger, 'in_flight'):.0f} in flight"
    )


def merged(ledgers: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Several ledgers as one."""
    total: dict[str, Any] = {"offered": 0, "delivered": 0, "in_flight": 0, "bytes": 0}
    dropped: dict[str, int] = {}
    for ledger in ledgers:
        for name in total:
            total[name] += number(ledger, name)
        for reason, count in (ledger.get("dropped") or {}).items():
            dropped[reason] = dropped.get(reason, 0) + count
    return {**total, "dropped": dropped}
