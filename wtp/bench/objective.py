"""Objectives of a benchmark: what a figure has to be, and whether it is.

`p99=10ms` asks for at most 10 ms, `objects_per_s=2000` for at least 2,000: `=` means the better
side of the value. `<`, `<=`, `>` and `>=` may be written instead. An objective on a figure that is
not known is missed. Of a range every point has to hold; of repeated runs the median counts.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wtp.bench.units import (
    PLAIN,
    Unit,
    bare,
    flat,
    more_is_better,
    parse_value,
    shown,
    unit_of,
)
from wtp.errors import ObjectiveMissed, UsageError

COMMON = {
    "p50": "p50_ms",
    "p90": "p90_ms",
    "p99": "p99_ms",
    "p999": "p999_ms",
    "max": "max_ms",
    "clock_error": "clock_error_ms",
    "dropped": "dropped",
    "n": "n",
    "objects_per_s": "objects_per_s",
    "mb_per_s": "mb_per_s",
    "ratio_p50": "ratio_p50",
}
"""Names that can be judged before a run, and the figures they stand for."""

_RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*(?P<name>\S.*?)\s*(?P<relation><=|>=|=|<|>)\s*(?P<value>[+-]?\d.*|)")


@dataclass(frozen=True, slots=True)
class Objective:
    """What a figure has to be.

    Attributes:
        text: As it was written.
        name: Of the figure, as it was written.
        relation: `<`, `<=`, `>` or `>=`.
        value: The value's text, with its unit.
    """

    text: str
    name: str
    relation: str
    value: str

    def __str__(self) -> str:
        return f"{self.name} {self.relation} {self.value}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an objective holds.

    Attributes:
        objective: Which.
        held: Whether it does.
        sentence: What the figure is, and by how much it misses.
        value: The figure; None when it is unknown.
        limit: What it was compared with, in the same unit.
    """

    objective: Objective
    held: bool
    sentence: str
    value: float | None
    limit: float

    def as_dict(self) -> dict[str, Any]:
        """For results in files."""
        return {
            "objective": str(self.objective),
            "held": self.held,
            "sentence": self.sentence,
        }


def parse(text: str) -> Objective:
    """Read an objective and check its unit, as far as the name tells it.

    Raises:
        UsageError: It makes no sense; the hint lists what would.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no objective.", hint=_possible())
    name, relation, value = match["name"], match["relation"], match["value"].strip()
    figure = COMMON.get(name, name)
    unit = unit_of(figure)
    if not value:
        raise UsageError(f"{text!r} names no value.", hint=_possible())
    if unit is not PLAIN or name in COMMON:
        _checked(value, unit, name)
    if relation == "=":
        relation = ">=" if more_is_better(figure) else "<="
    return Objective(text.strip(), name, relation, value)


def _checked(value: str, unit: Unit, name: str) -> float:
    try:
        return parse_value(value, unit, name)
    except UsageError as error:
        raise UsageError(error.message, hint=f"{error.hint} {_possible()}") from None


def _possible() -> str:
    return (
        "An objective is a figure, = or <, <=, >, >=, and a value: p50, p90, p99, p999, max, "
        "clock_error (times: p99=10ms), dropped, n (counts: dropped=0), objects_per_s (2000), "
        "mb_per_s (20MB/s), ratio_p50 (2), or any name in the result of -o json."
    )


def judge(objectives: Sequence[Objective], figures: Mapping[str, Any]) -> list[Verdict]:
    """Compare figures with objectives.

    Args:
        objectives: From `parse`.
        figures: A benchmark's result; with `series` every point that has the figure is judged.

    Returns:
        One verdict for each objective, or for each point of a range.

    Raises:
        UsageError: A name is none of this benchmark's figures, or is of another unit.
    """
    whole = dict(flat(figures))
    points = [(str(one.get("label", "")), dict(flat(one))) for one in figures.get("series") or []]
    found = []
    for objective in objectives:
        having = [(label, values) for label, values in points if _named(objective.name, values)]
        if not having:
            having = [("", {**whole, **(points[0][1] if points else {})})]
        found += [_judge(objective, label, values) for label, values in having]
    return found


def _judge(objective: Objective, label: str, values: dict[str, float | None]) -> Verdict:
    figure = _find(objective.name, values)
    limit = parse_value(objective.value, unit_of(figure), objective.name)
    value = values[figure]
    held = value is not None and _RELATIONS[objective.relation](value, limit)
    where = f" at {label}" if label else ""
    at_most = objective.relation.startswith("<")
    words = f"{'at most' if at_most else 'at least'} {shown(figure, limit)}"
    if len(objective.relation) == 1:
        words = f"{'below' if at_most else 'above'} {shown(figure, limit)}"
    if value is None:
        sentence = f"{figure}{where} is unknown; the objective is {words}."
    elif held:
        sentence = f"{figure}{where} is {shown(figure, value)}; the objective is {words}."
    else:
        by = shown(figure, abs(value - limit))
        side = "above" if at_most else "below"
        sentence = (
            f"{figure}{where} is {shown(figure, value)}, {by} {side} the objective of {words}."
        )
    return Verdict(objective, held, sentence, value, limit)


def _find(name: str, values: Mapping[str, float | None]) -> str:
    figure = _named(name, values)
    if not figure:
        raise UsageError(
            f"This benchmark has no figure {name!r}.",
            hint=f"It has {', '.join(values) or 'none'}.",
        )
    return figure


def _named(name: str, values: Mapping[str, float | None]) -> str:
    """The figure a name stands for; the unit may be left out. Empty when there is none."""
    wanted = COMMON.get(name, name)
    if wanted in values:
        return wanted
    fitting = [candidate for candidate in values if bare(candidate) == name]
    return fitting[0] if len(fitting) == 1 else ""


def require(verdicts: Sequence[Verdict]) -> None:
    """Raise when an objective was missed.

    Raises:
        ObjectiveMissed: With a line for each that was.
    """
    missed = [verdict for verdict in verdicts if not verdict.held]
    if missed:
        raise ObjectiveMissed(
            "\n".join(verdict.sentence for verdict in missed),
            hint=f"{len(missed)} of {len(verdicts)} objectives missed.",
        )
