"""The report of a benchmark: one page that works without a network, to be looked at.

What is on it: what was measured and when, the chief figures, objectives held or missed, notes, the
percentile curve (of this run, of pulsar-client alone in it, and of an earlier run), the course of
the latency second by second, the waterfall of the hops, figures over the points of a range, every
figure with its unit, and the configuration. A part for which a benchmark has no figures is left
out. It needs the extra `report`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from wtp.bench import report_page as html
from wtp.bench import report_plots as plots
from wtp.bench.units import HIDDEN, bare, flat, is_chief, number, shown, unit_of

Figures = Mapping[str, Any]

_PERCENTILES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")
_TILES = {
    "p50_ms": "median",
    "p99_ms": "99th percentile",
    "max_ms": "maximum",
    "objects_per_s": "objects a second",
    "messages_per_s": "messages a second",
    "mb_per_s": "throughput",
    "dropped": "dropped",
    "ratio_p50": "median, times pulsar-client alone",
    "clock_error_ms": "clock error",
    "n": "objects measured",
}
MOST_TILES = 6
MOST_ROWS = 40
"""A longer table of points is left to -o csv."""


def page(figures: Figures, before: Figures | None, title: str) -> str:
    """The page, as HTML.

    Args:
        figures: A benchmark's result.
        before: An earlier one to draw beside it, if any.
        title: What was measured, where the figures do not say it themselves.
    """
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    title = _title(figures, title)
    drawn = _plots(figures, before)
    body = [
        html.head(title, list(_below(figures))),
        html.verdicts(figures.get("objectives") or []),
        html.notes(figures.get("notes") or []),
        html.tiles(list(_tiles(figures))),
        *_cards(drawn, figures),
        *_tables(figures),
    ]
    about = f"wtp bench {figures.get('bench', '')}: {title}"
    return html.document(about, body, drawn, get_plotlyjs() if drawn else "")


def _title(figures: Figures, title: str) -> str:
    if figures.get("from") and figures.get("to") and "p50_ms" in figures:
        title = f"From {figures['from']} to {figures['to']}"
    first = (title or "A benchmark").splitlines()[0].strip().rstrip(".")
    return f"{first[:1].upper()}{first[1:]}"


def _below(figures: Figures) -> Iterator[str]:
    started = str(figures.get("started") or "")
    if started:
        moment = datetime.fromisoformat(started)
        started = f"{moment.day} {moment:%B %Y, %H:%M} UTC"
    runs = f"medians of {figures['repeat']} runs" if figures.get("repeat") else ""
    parts = (f"wtp bench {figures.get('bench', '')}", started, runs)
    yield ", ".join(part for part in parts if part)
    yield str((figures.get("configuration") or {}).get("machine", ""))


def _tiles(figures: Figures) -> Iterator[tuple[str, str, str]]:
    held = [key for key in _TILES if key in figures and not isinstance(figures[key], dict)]
    for key in held[:MOST_TILES] if len(held) > 1 else ():
        value = figures[key]
        if value is None:
            yield _TILES[key], "unknown", ""
        else:
            yield _TILES[key], number(value), unit_of(key).text


def _plots(figures: Figures, before: Figures | None) -> dict[str, Any]:
    """Every plot for which there are figures, by the id of its place."""
    series = figures.get("series") or []
    found = {
        "percentiles": plots.percentiles(_curves(figures, before)),
        "timeline": plots.timeline(figures.get("timeline") or []),
        "waterfall": plots.waterfall(figures.get("hops") or {}, figures, _ends(figures)),
    }
    if plots.has_names(series):
        for number, plot in enumerate(plots.bars(series).values()):
            found[f"bars-{number}"] = plot
    else:
        lines = {"p50_ms": "p50", "p99_ms": "p99", "max_ms": "max"}
        found["points"] = plots.points(series, lines, "ms")
        found["rates"] = plots.points(series, {"objects_per_s": "objects/s"}, "objects/s")
    return {name: plot for name, plot in found.items() if plot is not None}


def _ends(figures: Figures) -> str:
    """The whole way in short: `capture → receipt`."""
    words = [str(figures.get(end) or "").split(" ")[0] for end in ("from", "to")]
    return " → ".join(words) if all(words) else "in all"


def _curves(figures: Figures, before: Figures | None) -> dict[str, str]:
    """Histograms by what they are of."""
    ours = "this run" if before else "measured"
    named: dict[str, Any] = {ours: figures}
    if figures.get("send_to_receive"):
        named["send to receipt"] = figures["send_to_receive"]
    named["baseline in the same run"] = figures.get("baseline") or {}
    named |= {str(point.get("label")): point for point in figures.get("series") or []}
    if before:
        named["earlier run"] = before
        for point in before.get("series") or []:
            named[f"earlier, {point.get('label')}"] = point
    return {name: one["histogram"] for name, one in named.items() if one.get("histogram")}


def _cards(drawn: Mapping[str, Any], figures: Figures) -> Iterator[str]:
    if "percentiles" in drawn:
        about = "How long the slowest objects took; towards the right fewer and fewer of them."
        yield html.card("Latency by percentile", about, html.plot("percentiles"))
    if "waterfall" in drawn:
        bars = len(drawn["waterfall"]["data"][0]["y"])
        about = (
            "Hop after hop: median solid, up to the 99th percentile light (p50 / p99 in ms). "
            "Medians of hops need not add up to the median of the whole."
        )
        height_px = bars * plots.BAR_PX + 60
        yield html.card("Where the time goes", about, html.plot("waterfall", height_px))
    if "timeline" in drawn:
        about = "Every second of the run; where nothing arrived, the line is broken."
        yield html.card("Latency over time", about, html.plot("timeline"))
    if "bars-0" in drawn:
        yield _bars(drawn, list(plots.bars(figures["series"])))
    both = [
        html.card("Latency over the range", "", html.plot("points")) if "points" in drawn else "",
        html.card("Rate over the range", "", html.plot("rates")) if "rates" in drawn else "",
    ]
    if all(both):
        yield f'<div class="pair">{"".join(both)}</div>'
    else:
        yield "".join(both)


def _bars(drawn: Mapping[str, Any], titles: list[str]) -> str:
    """The plots of points with names, two beside each other."""
    cards = []
    for at, title in enumerate(titles):
        place = f"bars-{at}"
        height_px = len(drawn[place]["data"][0]["y"]) * plots.BAR_PX + 60
        about = "p50 solid, up to p99 light (p50 / p99 in ms)"
        name = title[:1].upper() + title[1:] or "Latencies"
        cards.append(html.card(name, about, html.plot(place, height_px)))
    inside = "".join(cards)
    return f'<div class="pair">{inside}</div>' if len(cards) > 1 else inside


def _tables(figures: Figures) -> Iterator[str]:
    series = figures.get("series") or []
    ways = dict(_ways(figures))
    if ways:
        head = ("latency in ms", "n", "p50", "p90", "p99", "p99.9", "max")
        lines = [
            (name, _cell(row.get("n")), *(_cell(row.get(key)) for key in _PERCENTILES))
            for name, row in ways.items()
        ]
        yield html.card("Latencies", "", html.table(head, lines))
    if 0 < len(series) <= MOST_ROWS:
        yield html.card("Points of the range", "", _points(series))
    yield from _lists(figures)
    rest = [(_name(name), shown(name, value)) for name, value in _others(figures)]
    if rest:
        yield html.card("Figures", "", html.table(("figure", "value"), rest))
    if figures.get("spread"):
        about = f"{figures['repeat']} runs; the figures above are their medians."
        yield html.card("Spread", about, _spread(figures["spread"]))
    compared = figures.get("compared")
    if compared:
        about = "; ".join([compared["band"], *compared["differences"]])
        yield html.card("Against the earlier run", about, _changes(compared))
    config = figures.get("configuration") or {}
    settings = [(str(key), str(value)) for key, value in config.items()]
    yield html.card("Configuration", "", html.table(("setting", "value"), settings, words=2))


def _lists(figures: Figures) -> Iterator[str]:
    """Figures that are rows already, as those of codecs or protocols."""
    for key, rows in figures.items():
        if key in HIDDEN or not (isinstance(rows, list) and rows and isinstance(rows[0], Mapping)):
            continue
        names = [name for name, value in rows[0].items() if not isinstance(value, dict | list)]
        lines = [tuple(_word(name, row.get(name)) for name in names) for row in rows]
        words = sum(isinstance(rows[0][name], str) for name in names)
        title = key.replace("_", " ").capitalize()
        yield html.card(title, "", html.table([_name(n) for n in names], lines, words=words))


def _word(name: str, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return shown(name, value)
    return "" if value is None else str(value)


def _ways(figures: Figures, before: str = "") -> Iterator[tuple[str, Figures]]:
    """Every latency among the figures, by what it is of."""
    if "p50_ms" in figures:
        yield before or "the whole", figures
    for key, value in figures.items():
        if key not in HIDDEN and isinstance(value, Mapping):
            name = key.replace("->", " → ").replace("_", " ")
            name = "baseline in the same run" if key == "baseline" else name
            inside = f"{before}, {name}" if before and before != "hops" else name
            yield from _ways(value, inside)


def _others(figures: Figures) -> Iterator[tuple[str, float | None]]:
    """Figures that the table of latencies does not hold."""
    for name, value in flat(figures):
        if name.rpartition(".")[2] not in (*_PERCENTILES, "n"):
            yield name, value


def _points(series: Any) -> str:
    names = dict.fromkeys(name for point in series for name, _ in flat(point) if "." not in name)
    rows = [
        (str(point.get("label", "")), *(shown(name, point.get(name)) for name in names))
        for point in series
    ]
    return html.table(("", *(_name(name) for name in names)), rows)


def _spread(spread: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        (_name(name), *(shown(name, values[key]) for key in ("min", "median", "max")))
        for name, values in spread.items()
        if is_chief(name)
    ]
    return html.table(("figure", "least", "median", "largest"), rows)


def _changes(compared: Mapping[str, Any]) -> str:
    rows = []
    for one in compared["changes"]:
        name, change = one["figure"], one["change_percent"]
        if not (is_chief(name) or one["verdict"] in ("better", "worse")):
            continue
        rows.append(
            (
                _name(name),
                shown(name, one["before"]),
                shown(name, one["now"]),
                "" if change is None else f"{change:+.1f} %",
                f"±{one['band_percent']:g} %",
                one["verdict"],
            )
        )
    return html.table(("figure", "before", "now", "change", "noise", ""), rows)


def _name(name: str) -> str:
    """A figure's name for people: without its unit, in words."""
    if name.endswith("per_s"):
        name = name.replace("_per_s", "/s").replace("mb/s", "MB/s")
    parts = [bare(part).replace("->", " → ").replace("_", " ") for part in name.split(".")]
    return ", ".join(parts)


def _cell(value: float | None) -> str:
    return "unknown" if value is None else number(value)
