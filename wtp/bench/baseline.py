"""An earlier result beside this one: what has changed, and whether that is more than noise.

The noise band is stated with every figure. It comes from the spread of repeated runs: half the
distance from the least to the largest value, of both results added (of the one that has several
runs twice, when the other has one), at least `LEAST_PERCENT`. Without any it is `NOISE_PERCENT`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wtp.bench.units import flat, more_is_better
from wtp.errors import UsageError

NOISE_PERCENT = 10.0
"""Noise band of figures that were measured once, unless another is given."""

LEAST_PERCENT = 2.0
"""Nothing on a shared machine repeats better than this."""

_NEUTRAL = re.compile(
    r"(^|\.)(n|objects|sent|offered|in_flight|repeat|cores|packet_bytes|size\w*)$"
)
"""Figures that are neither better nor worse when they change."""

_UNTOLD = frozenset({"machine"})
"""Keys of a configuration that two comparable runs need not share, since they are named apart."""

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both results.

    Attributes:
        figure: Its dotted name; after a point's label when it is one of a range.
        before: Its value in the earlier result.
        now: Its value in this one.
        change_percent: None when it was 0 or is unknown.
        band_percent: What counts as noise.
        verdict: `better`, `worse`, `changed` (neither is better), `same` (within the noise), or
            `unknown`.
    """

    figure: str
    before: float | None
    now: float | None
    change_percent: float | None
    band_percent: float
    verdict: str


def read(path: Path, bench: str) -> dict[str, Any]:
    """An earlier result.

    Args:
        path: What `-o json` printed or `--save` wrote.
        bench: Name of the benchmark it has to be of.

    Raises:
        UsageError: It cannot be read, or is of something else.
    """
    made = f"Make one with `wtp bench {bench} -o json > FILE`."
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}.", hint=made) from None
    except ValueError:
        raise UsageError(f"{path} is no result of a benchmark.", hint=made) from None
    if not isinstance(figures, dict) or not (dict(flat(figures)) or "series" in figures):
        raise UsageError(f"{path} is no result of a benchmark.", hint=made)
    found = figures.get("bench", bench)
    if found != bench:
        raise UsageError(f"{path} is of `wtp bench {found}`, not of {bench}.", hint=made)
    return figures


def compare(before: Figures, now: Figures, noise_percent: float | None = None) -> dict[str, Any]:
    """Set two results side by side.

    Args:
        before: The earlier one, from `read`.
        now: This one.
        noise_percent: The noise band; None takes it from the spread of repeated runs.

    Returns:
        `changes` (see `Change`), `band` (how the noise band was found, a sentence), `differences`
        (sentences: what was configured otherwise), `started` of the earlier run.
    """
    changes = [
        _change(f"{label}{name}", values[0], values[1], _band(name, *parts, noise_percent))
        for label, parts in _pairs(before, now)
        for name, values in _shared(*parts).items()
    ]
    return {
        "changes": [asdict(change) for change in changes],
        "band": _how(before, now, noise_percent),
        "differences": list(_differences(before, now)),
        "started": before.get("started"),
    }


def _pairs(before: Figures, now: Figures) -> Iterator[tuple[str, tuple[Figures, Figures]]]:
    """The results themselves, and the points of a range that both have."""
    yield "", (before, now)
    earlier = {point.get("label"): point for point in before.get("series") or []}
    for point in now.get("series") or []:
        if point.get("label") in earlier:
            yield f"{point['label']}: ", (earlier[point["label"]], point)


def _shared(before: Figures, now: Figures) -> dict[str, tuple[float | None, float | None]]:
    earlier = dict(flat(before))
    return {name: (earlier[name], value) for name, value in flat(now) if name in earlier}


def _band(name: str, before: Figures, now: Figures, given: float | None) -> float:
    if given is not None:
        return given
    parts = [_half_width(side, name) for side in (before, now)]
    known = [part for part in parts if part is not None]
    if not known:
        return NOISE_PERCENT
    return round(max(LEAST_PERCENT, sum(known) * 2 / len(known)), 1)


def _half_width(figures: Figures, name: str) -> float | None:
    """Half the spread of a figure in percent of its median."""
    spread = (figures.get("spread") or {}).get(name)
    if not spread or not spread["median"]:
        return None
    return float(abs((spread["max"] - spread["min"]) / 2 / spread["median"] * 100))


def _how(before: Figures, now: Figures, given: float | None) -> str:
    if given is not None:
        return f"noise band ±{given:g} %, as given by --noise"
    counts = [int(side.get("repeat") or 1) for side in (before, now)]
    if max(counts) == 1:
        return f"noise band ±{NOISE_PERCENT:g} %, since both were run once (see --repeat, --noise)"
    return f"noise band from the spread of {counts[0]} earlier and {counts[1]} present runs"


def _change(name: str, before: float | None, now: float | None, band: float) -> Change:
    if before is None or now is None:
        return Change(name, before, now, None, band, "unknown")
    percent = round((now / before - 1) * 100, 1) if before else None
    if before == now or (percent is not None and abs(percent) <= band):
        return Change(name, before, now, percent, band, "same")
    if _NEUTRAL.search(name):
        return Change(name, before, now, percent, band, "changed")
    better = (now > before) == more_is_better(name)
    return Change(name, before, now, percent, band, "better" if better else "worse")


def _differences(before: Figures, now: Figures) -> Iterator[str]:
    earlier, present = before.get("configuration") or {}, now.get("configuration") or {}
    for key in dict.fromkeys([*earlier, *present]):
        if key not in _UNTOLD and earlier.get(key) != present.get(key):
            yield f"{key} was {earlier.get(key, 'not given')}, is {present.get(key, 'not given')}"
    if earlier.get("machine") != present.get("machine"):
        yield "the earlier run was on another machine or with other versions"
