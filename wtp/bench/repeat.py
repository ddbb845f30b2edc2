"""Several runs of the same benchmark as one result: medians, and the spread around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from wtp.bench.units import flat

Figures = dict[str, Any]


def combine(runs: Sequence[Mapping[str, Any]]) -> Figures:
    """Put runs together.

    Args:
        runs: Figures of each, all of the same benchmark and configuration.

    Returns:
        The figures of a single run unchanged. Of several the median of every number (None when a
        run does not know it), all histograms added up, the time lines one after the other, `runs`
        (each as it was) and `spread`: {name: {"min", "median", "max"}} with dotted names; in
        `series` the same for each point, of the runs that have it.
    """
    if len(runs) == 1:
        return dict(runs[0])
    whole = _together(runs)
    if whole.get("series"):
        points: dict[Any, list[Figures]] = {}
        for run in runs:
            for point in run.get("series") or []:
                points.setdefault(point.get("label"), []).append(point)
        whole["series"] = [{**_together(same), "spread": spread(same)} for same in points.values()]
    return {**whole, "repeat": len(runs), "spread": spread(runs), "runs": [dict(r) for r in runs]}


def spread(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Least, middle and largest value of every number that all runs know."""
    found: dict[str, dict[str, float | None]] = {}
    columns = [dict(flat(run)) for run in runs]
    for name in columns[0]:
        values = [column.get(name) for column in columns]
        known = [value for value in values if value is not None]
        if known and len(known) == len(values):
            found[name] = {"min": min(known), "median": median(known), "max": max(known)}
    return found


def _together(runs: Sequence[Mapping[str, Any]]) -> Figures:
    keys = dict.fromkeys(key for run in runs for key in run)
    return {key: _value(key, [run.get(key) for run in runs]) for key in keys}


def _value(key: str, values: list[Any]) -> Any:
    if key in _SPECIAL:
        return _SPECIAL[key](values)
    if all(isinstance(value, Mapping) for value in values):
        return _together(values)
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        middle = median(numbers)
        whole = all(isinstance(v, int) for v in numbers) and middle == int(middle)
        return int(middle) if whole else middle
    return None if any(value is None for value in values) else values[0]


def added(histograms: Sequence[str | None]) -> str | None:
    """Histograms (as `Latency.encoded` writes them) added up; None when one is missing."""
    from hdrh.histogram import HdrHistogram

    if not histograms or any(text is None for text in histograms):
        return None
    whole = HdrHistogram.decode(histograms[0])
    for text in histograms[1:]:
        whole.decode_and_add(text)
    return str(whole.encode().decode("ascii"))


def _joined(timelines: list[Any]) -> list[dict[str, Any]]:
    """Time lines one after the other, as if the runs had followed without a pause."""
    whole: list[dict[str, Any]] = []
    for timeline in timelines:
        start_s = whole[-1]["t_s"] if whole else 0
        whole += [{**second, "t_s": start_s + second["t_s"]} for second in timeline or []]
    return whole


def _notes(notes: list[Any]) -> list[str]:
    """Every sentence once."""
    return list(dict.fromkeys(sentence for some in notes for sentence in some or []))


_SPECIAL: dict[str, Callable[[list[Any]], Any]] = {
    "histogram": added,
    "timeline": _joined,
    "notes": _notes,
    "configuration": lambda values: values[0],
}
