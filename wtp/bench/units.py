"""Names of figures and their units: flat names out of nested figures, values with units as text.

The unit of a figure stands in its name (`p99_ms`, `mb_per_s`, `packet_bytes`). In a nested figure
it may stand in any part of the name: `cpu_s.router` is in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wtp.errors import UsageError

HIDDEN = frozenset(
    {"histogram", "timeline", "series", "runs", "spread", "configuration", "objectives", "compared"}
    | {"repeat"}
)
"""Keys that are no figures."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of figures.

    Attributes:
        kind: What is measured, in words: `time`, `size`, ...
        text: How it is written; empty for a plain number.
        scale: In the kind's base unit: 0.001 for milliseconds.
        inputs: Units that may be written instead, with their scales.
    """

    kind: str
    text: str
    scale: float
    inputs: Mapping[str, float]


_TIMES = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SIZES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20}
_SIZES |= {"GiB": 2.0**30}
_SPEEDS = {f"{unit}/s": scale for unit, scale in _SIZES.items()}
_BITS = {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6}
_RATES = {"/s": 1.0, "": 1.0}

PLAIN = Unit("number", "", 1.0, {"": 1.0})

_UNITS = (
    (r"_mib_per_h$", Unit("growth", "MiB/h", 1.0, {"MiB/h": 1.0})),
    (r"(?:^|_)mb_per_(?:core_)?s$", Unit("speed", "MB/s", 1e6, _SPEEDS)),
    (r"(?:^|_)kbit_(?:per_)?s$", Unit("bit rate", "kbit/s", 1e3, _BITS)),
    (r"_s_per_(?:\w*mb|1000)$", Unit("time", "s", 1.0, _TIMES)),
    (r"(?:^|_)per_(?:core_)?s(?:econd)?$", Unit("rate", "/s", 1.0, _RATES)),
    (r"_us$", Unit("time", "µs", 1e-6, _TIMES)),
    (r"_ms$", Unit("time", "ms", 1e-3, _TIMES)),
    (r"(?:_s|^seconds)$", Unit("time", "s", 1.0, _TIMES)),
    (r"_bytes$", Unit("size", "B", 1.0, _SIZES)),
    (r"_kib(?:_per_\w+)?$", Unit("size", "KiB", 2.0**10, _SIZES)),
    (r"_mib$", Unit("size", "MiB", 2.0**20, _SIZES)),
    (r"_mb$", Unit("size", "MB", 1e6, _SIZES)),
    (r"_percent$", Unit("share", "%", 1.0, {"%": 1.0})),
)
"""What a part of a name ends in, and the unit that says; the first that fits counts."""

MORE_IS_BETTER = re.compile(
    r"per_(core_)?s$|mb_s$|kbit_s$|^times_|(^|\.)(n|objects|received|delivered|readable|sessions)$"
    r"|confidence"
)
"""Figures of which more is better; of all others less is."""


def unit_of(name: str) -> Unit:
    """The unit of a figure, from its (dotted) name; a plain number when it names none."""
    for part in reversed(name.split(".")):
        for pattern, unit in _UNITS:
            if re.search(pattern, part):
                return unit
    return PLAIN


def bare(name: str) -> str:
    """A name without its unit of time, size or share: `p99` for `p99_ms`."""
    return re.sub(r"_(us|ms|s|bytes|kib|mib|mb|percent)$", "", name)


def more_is_better(name: str) -> bool:
    """Whether a larger value of this figure is the better one."""
    return bool(MORE_IS_BETTER.search(name))


def flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float | None]]:
    """Every number of nested figures with its dotted name, in order; None is an unknown one."""
    for key, value in figures.items():
        if key in HIDDEN:
            continue
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield name, value


def is_chief(name: str) -> bool:
    """Whether a figure is of the whole, or the p50 or p99 of a part: what fits a short table."""
    return "." not in name or name.endswith((".p50_ms", ".p99_ms"))


def shown(name: str, value: float | None) -> str:
    """A value with the unit of its name, for people: `12.3 ms`, `1,300/s`, `unknown`."""
    if value is None:
        return "unknown"
    unit = unit_of(name).text
    text = number(value)
    if not unit or unit.startswith("/") or unit == "%":
        return f"{text}{' %' if unit == '%' else unit}"
    return f"{text} {unit}"


def number(value: float) -> str:
    """A number with as many digits as help: `12`, `0.042`, `3.21`, `48.6`, `1,300`."""
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def parse_value(text: str, unit: Unit, what: str) -> float:
    """A value as written on a command line, in the unit of a figure.

    Args:
        text: As written: `10ms`, `2 MB/s`, `0`.
        unit: The figure's unit.
        what: The figure's name, for the error.

    Raises:
        UsageError: It is no number, or its unit does not measure what the figure does.
    """
    match = re.fullmatch(r"([+-]?\d+(?:[.,]\d+)?)\s*(\S*)", text.strip())
    if not match:
        raise UsageError(f"{text!r} is no value for {what}.", hint=f"Write {example(what, unit)}.")
    value, given = float(match[1].replace(",", ".")), match[2]
    known = {written.lower(): scale for written, scale in unit.inputs.items()}
    if given.lower() in known:
        return value * known[given.lower()] / unit.scale
    if not value and not given:
        return 0.0
    if unit is PLAIN:
        problem = f"{what} is a plain number, {text!r} has a unit."
    elif given:
        problem = f"{what} is a {unit.kind}; {given!r} is no unit of it."
    else:
        problem = f"{what} is a {unit.kind}; {text!r} has no unit."
    units = ", ".join(one for one in unit.inputs if one) or "no unit"
    raise UsageError(problem, hint=f"Write {example(what, unit)} (units: {units}).")


def example(name: str, unit: Unit) -> str:
    """How a value of that name is written."""
    return f"{name}=10{unit.text}"
