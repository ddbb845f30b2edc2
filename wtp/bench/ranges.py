"""Ranges of a benchmark's options: `2KB:60KB` measures several points between the two.

`FROM:TO` stands for five points, `FROM:TO:N` for N; each is larger than the one before by the same
factor, both ends are among them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wtp.bench.units import number
from wtp.errors import UsageError

POINTS = 5
MAX_POINTS = 64
"""Points that one command measures at most; over several ranges their product."""


@dataclass(frozen=True, slots=True)
class Range:
    """One value or several.

    Attributes:
        text: As it was written.
        points: The values, rising (or falling, when written so).
    """

    text: str
    points: tuple[float, ...]

    def __str__(self) -> str:
        return self.text


def parse(text: str, one: Callable[[str], float], *, whole: bool = False) -> Range:
    """Read a value or a range.

    Args:
        text: As written.
        one: Reads one value; its errors pass through.
        whole: Whether points between are rounded to whole numbers.

    Raises:
        UsageError: It is no range.
    """
    parts = [part.strip() for part in text.split(":")]
    if len(parts) == 1:
        return Range(text, (one(text),))
    if len(parts) > 3 or not all(parts):
        raise UsageError(f"{text!r} is no range.", hint="Write FROM:TO or FROM:TO:POINTS.")
    first, last = one(parts[0]), one(parts[1])
    count = POINTS
    if len(parts) == 3:
        if not parts[2].isdigit() or not 2 <= int(parts[2]) <= MAX_POINTS:
            raise UsageError(
                f"{parts[2]!r} is no number of points.", hint=f"Write 2 to {MAX_POINTS}."
            )
        count = int(parts[2])
    if first <= 0 or last <= 0:
        raise UsageError(f"{text!r}: both ends have to be above 0.", hint="Write e.g. 1KB:64KB.")
    if first == last:
        return Range(text, (first,))
    factor = (last / first) ** (1 / (count - 1))
    found = [first, *(first * factor**number for number in range(1, count - 1)), last]
    if whole:
        found = [float(round(value)) for value in found]
    return Range(text, tuple(dict.fromkeys(found)))


def over(
    config: Mapping[str, Any],
    ranges: Mapping[str, Range],
    measure: Callable[[dict[str, Any]], dict[str, Any]],
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure every point.

    Args:
        config: The rest of the configuration.
        ranges: Key of the configuration to its range.
        measure: Measures one configuration.
        say: Told which point is next.

    Returns:
        The figures of a single point; or `series`, one entry with a `label` for each.

    Raises:
        UsageError: There are too many points.
    """
    total = points(ranges)
    if total == 1:
        single = {key: plain(one.points[0]) for key, one in ranges.items()}
        return measure({**config, **single})
    series, notes = [], list[str]()
    for count, values in enumerate(itertools.product(*(one.points for one in ranges.values())), 1):
        chosen = {key: plain(value) for key, value in zip(ranges, values, strict=True)}
        varied = {key: value for key, value in chosen.items() if len(ranges[key].points) > 1}
        label = ", ".join(label_of(key, value) for key, value in varied.items())
        say(f"{label}, {count} of {total}")
        figures = measure({**config, **chosen})
        figures.pop("configuration", None)
        notes += [f"{label}: {note}" for note in figures.pop("notes", [])]
        series.append({"label": label, **varied, **figures})
    return {"series": series, **({"notes": notes} if notes else {})}


def points(ranges: Mapping[str, Range]) -> int:
    """How many points there are.

    Raises:
        UsageError: Too many.
    """
    total = 1
    for one in ranges.values():
        total *= len(one.points)
    if total > MAX_POINTS:
        raise UsageError(
            f"These ranges have {total} points, the limit is {MAX_POINTS}.",
            hint="Give one of them fewer: FROM:TO:POINTS.",
        )
    return total


def label_of(key: str, value: float) -> str:
    """A point's value for people: `2 KB`, `30/s`."""
    if key.endswith("_bytes"):
        for size, unit in ((1e6, "MB"), (1e3, "KB")):
            if value >= size:
                return f"{number(round(value / size, 2))} {unit}"
        return f"{number(value)} B"
    if key == "rate" or key.endswith("_per_s"):
        return f"{number(round(value, 1))}/s"
    return f"{key} {number(value)}"


def plain(value: float) -> float | int:
    """A whole number as such: 30 for 30.0."""
    return int(value) if value == int(value) else value
