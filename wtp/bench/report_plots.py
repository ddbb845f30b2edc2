"""The plots of a report, as Plotly's data and layout; colours are given by the page.

A trace's `meta` names its colour. Texts of traces may hold anything, so their markup is taken out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Figures = Mapping[str, Any]
Plot = dict[str, Any]

CURVE_POINTS = 120
MOST_CURVES = 6
"""Colours there are."""

LOG_FROM = 20.0
"""A maximum of so many medians takes a logarithmic axis, or the median would be a flat line."""

BAR_PX = 44
MOST_POINTS = 12
"""Points of a range that stand side by side; more, or long names, lie one below the other."""
LONG_NAME = 12
WIDE, NARROW = 1.28, 1.6
"""Length of the axis, in longest bars, so that the text behind that bar fits."""
_NO_NAMES = frozenset({"label", "histogram", "from", "to"})

_MARGIN = {"l": 56, "r": 16, "t": 8, "b": 48}
_TICKS = {1: "0", 2: "50", 10: "90", 100: "99", 1000: "99.9", 10_000: "99.99", 100_000: "99.999"}


def percentiles(curves: Mapping[str, str]) -> Plot | None:
    """Latency over percentile, from histograms by name; the axis stretches the last percent."""
    from plotly import graph_objects as go  # type: ignore[import-untyped]

    figure = go.Figure()
    most, least, reach = 0.0, float("inf"), 1.0
    for number, name in enumerate(_chosen(list(curves))):
        text = curves[name]
        xs, ys, count = _curve(text)
        if not count:
            continue
        most, least, reach = max(most, ys[-1]), min(least, ys[len(ys) // 3]), max(reach, count)
        figure.add_scatter(
            x=xs,
            y=ys,
            name=escape(name),
            meta=f"c{number}",
            mode="lines",
            line={"width": 2.5, "dash": "dot" if name.startswith("earlier") else "solid"},
            customdata=[f"{100 - 100 / x:.5g}" for x in xs],
            hovertemplate="%{customdata} %: %{y:.2f} ms",
        )
    if not figure.data:
        return None
    ticks = {at: text for at, text in _TICKS.items() if at <= max(10, reach)}
    figure.update_xaxes(
        type="log",
        title="percentile of the objects (%)",
        tickvals=list(ticks),
        ticktext=list(ticks.values()),
    )
    steep = least > 0 and most / least > LOG_FROM
    figure.update_yaxes(**_ms_axis(steep))
    return _plot(figure, legend=len(figure.data) > 1)


def _chosen(names: list[str]) -> list[str]:
    """As many as there are colours, the first and the last among them."""
    if len(names) <= MOST_CURVES:
        return names
    step = (len(names) - 1) / (MOST_CURVES - 1)
    return [names[round(number * step)] for number in range(MOST_CURVES)]


def _curve(text: str) -> tuple[list[float], list[float], int]:
    """Values of 1 / (1 - share), latencies in ms, and how many values there are."""
    from hdrh.histogram import HdrHistogram

    histogram = HdrHistogram.decode(text)
    count = int(histogram.get_total_count())
    if not count:
        return [], [], 0
    xs = [float(count ** (step / CURVE_POINTS)) for step in range(CURVE_POINTS + 1)]
    ranks = [math.ceil(count - count / x) for x in xs]
    ys = [histogram.get_value_at_percentile(100 * rank / count) / 1000 for rank in ranks[:-1]]
    return xs, [*ys, histogram.get_max_value() / 1000], count


def timeline(seconds: Sequence[Figures]) -> Plot | None:
    """Median, 99th percentile and maximum of every second; a second without objects is a gap."""
    from plotly import graph_objects as go

    if len(seconds) < 2:
        return None
    by_second = {round(float(one["t_s"])): one for one in seconds}
    xs = list(range(min(by_second), max(by_second) + 1))
    figure = go.Figure()
    most, least = 0.0, float("inf")
    for key, name, color in (
        ("max_ms", "max", "c5"),
        ("p99_ms", "p99", "c1"),
        ("p50_ms", "p50", "c0"),
    ):
        ys = [by_second[x][key] if x in by_second else None for x in xs]
        known = [y for y in ys if y is not None]
        most, least = max(most, *known), min(least, *known)
        figure.add_scatter(
            x=xs, y=ys, name=name, meta=color, mode="lines", connectgaps=False,
            line={"width": 1.5 if key == "max_ms" else 2.5}, hovertemplate="%{y:.2f} ms",
        )  # fmt: skip
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(title="second of the measured time")
    figure.update_yaxes(**_ms_axis(least > 0 and most / least > LOG_FROM))
    return _plot(figure, legend=True, order="reversed")


def waterfall(hops: Mapping[str, Figures], whole: Figures, name: str) -> Plot | None:
    """One bar a hop, each beginning where the one before ends: p50 solid, up to p99 light.

    Args:
        hops: In the order of the path.
        whole: The latency from end to end.
        name: What the whole is of.
    """
    known = {hop: row for hop, row in hops.items() if row.get("p50_ms") is not None}
    if len(known) < 2:
        return None
    bars: list[tuple[str, float, Figures]] = []
    start_ms = 0.0
    for hop, row in known.items():
        bars.append((hop.replace("->", " → "), start_ms, row))
        start_ms += row["p50_ms"]
    if whole.get("p50_ms") is not None:
        bars.append((name, 0.0, whole))
    return _spans(bars, WIDE)


def bars(series: Sequence[Figures]) -> dict[str, Plot]:
    """Bars from nothing to p50 (solid) and on to p99 (light), for points with names.

    Points that say in further words what they are of (`use`, `link`) are put into a plot for each
    such combination; the first of their words names the bar.

    Returns:
        Plots by their title, which is empty when there is but one.
    """
    groups: dict[str, list[tuple[str, float, Figures]]] = {}
    for point in series:
        words = [v for k, v in point.items() if isinstance(v, str) and k not in _NO_NAMES]
        name = words[0] if len(words) > 1 else str(point.get("label", ""))
        if point.get("p50_ms") is not None:
            groups.setdefault(", ".join(words[1:]), []).append((name, 0.0, point))
    return {title: _spans(found, NARROW) for title, found in groups.items()}


def _spans(bars: Sequence[tuple[str, float, Figures]], space: float) -> Plot:
    """Bars by name, where they begin (ms), and the p50 and p99 of what they are of."""
    from plotly import graph_objects as go

    names = [escape(bar[0]) for bar in bars]
    p50s = [row["p50_ms"] for _, _, row in bars]
    tails = [max(0.0, row["p99_ms"] - row["p50_ms"]) for _, _, row in bars]
    figure = go.Figure()
    figure.add_bar(
        y=names, x=p50s, base=[bar[1] for bar in bars], orientation="h", name="p50", meta="c0",
        marker={"line": {"width": 0}}, hovertemplate="p50 %{x:.2f} ms",
    )  # fmt: skip
    figure.add_bar(
        y=names,
        x=tails,
        base=[bar[1] + p50 for bar, p50 in zip(bars, p50s, strict=True)],
        orientation="h",
        name="up to p99",
        meta="c0",
        marker={"line": {"width": 0}, "opacity": 0.3},
        text=[f"{row['p50_ms']:.2f} / {row['p99_ms']:.2f}" for _, _, row in bars],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{x:.2f} ms more",
    )
    figure.update_layout(barmode="overlay", bargap=0.35)
    reach = max(base + row["p99_ms"] for _, base, row in bars)
    figure.update_xaxes(title="ms", range=[0, reach * space])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _plot(figure, legend=False)


def has_names(series: Sequence[Figures]) -> bool:
    """Whether the points are rather things with names than values of a range."""
    longest = max((len(str(point.get("label", ""))) for point in series), default=0)
    return len(series) > MOST_POINTS or longest > LONG_NAME


def points(series: Sequence[Figures], keys: Mapping[str, str], title: str) -> Plot | None:
    """Figures over the points of a range.

    Args:
        series: The points.
        keys: Key of a figure to its name in the legend.
        title: Of the axis, with the unit.
    """
    from plotly import graph_objects as go

    labels = [escape(str(point.get("label", ""))) for point in series]
    figure = go.Figure()
    for number, (key, name) in enumerate(keys.items()):
        ys = [point.get(key) for point in series]
        if any(y is not None for y in ys):
            figure.add_scatter(
                x=labels, y=ys, name=name, meta=f"c{number}", mode="lines+markers",
                line={"width": 2.5}, marker={"size": 8}, hovertemplate="%{y:.2f}",
            )  # fmt: skip
    if not figure.data or len(series) < 2:
        return None
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(type="category")
    figure.update_yaxes(title=title, rangemode="tozero")
    return _plot(figure, legend=len(figure.data) > 1)


def _ms_axis(logarithmic: bool) -> dict[str, Any]:
    if logarithmic:
        return {"type": "log", "title": "ms (logarithmic)", "dtick": "D2"}
    return {"title": "ms", "rangemode": "tozero"}


def _plot(figure: Any, *, legend: bool, order: str = "normal") -> Plot:
    figure.update_layout(
        template="none",
        margin=_MARGIN,
        showlegend=legend,
        legend={"orientation": "h", "traceorder": order, "yanchor": "bottom", "y": 1.0, "x": 0.0},
    )
    found: Plot = json.loads(figure.to_json())
    found["layout"].pop("template", None)
    return {"data": found["data"], "layout": found["layout"]}
