"""The page of a report: what plots and tables stand in, light and dark, wide and narrow.

Colours are named once, as CSS variables; the script below takes them over into the plots and draws
again when the reader's preference changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

ONE_LINE = 28
"""Words of a table that are not broken."""

_STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1c2430; --soft: #5d6878; --line: #dfe4ea;
  --c0: #2563eb; --c1: #d97706; --c2: #0d9488; --c3: #9333ea; --c4: #dc2626; --c5: #64748b;
  --good: #15803d; --bad: #b91c1c; --good-soft: #e7f6ec; --bad-soft: #fdecec; --warn: #fff5dc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11151b; --card: #1a2029; --ink: #e8ecf2; --soft: #9aa6b6; --line: #2d3642;
    --c0: #6ea8fe; --c1: #fbbf24; --c2: #2dd4bf; --c3: #c084fc; --c4: #f87171; --c5: #94a3b8;
    --good: #4ade80; --bad: #f87171; --good-soft: #15301f; --bad-soft: #3a1b1e; --warn: #362c12;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 1.1rem; margin: 0 0 4px; }
.soft { color: var(--soft); margin: 0; font-size: .92rem; }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 20px; margin-top: 20px; min-width: 0;
}
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); column-gap: 20px; }
.tiles { display: grid; gap: 12px; margin-top: 24px;
  grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 12px 16px; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.3; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.tile b small { font-size: .9rem; font-weight: 500; color: var(--soft); }
.tile span { color: var(--soft); font-size: .85rem; }
.verdicts { list-style: none; margin: 20px 0 0; padding: 0; display: grid; gap: 8px; }
.verdicts li { border-radius: 8px; padding: 8px 14px; }
.held { background: var(--good-soft); } .missed { background: var(--bad-soft); }
.held b { color: var(--good); } .missed b { color: var(--bad); }
.note { background: var(--warn); border-radius: 8px; padding: 8px 14px; margin: 12px 0 0; }
.plot { width: 100%; height: 340px; margin-top: 8px; }
.scroll { overflow-x: auto; margin-top: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th { text-align: left; color: var(--soft); font-weight: 600; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.w { white-space: nowrap; }
td:not(.n) { min-width: 7.5em; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.better { color: var(--good); font-weight: 600; }
td.worse { color: var(--bad); font-weight: 600; }
td.same, td.changed, td.unknown { color: var(--soft); }
@media (max-width: 760px) {
  main { padding: 20px 12px 40px; }
  .pair { grid-template-columns: minmax(0, 1fr); }
  .card { padding: 14px; margin-top: 14px; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px; }
  .plot { height: 290px; }
  table { font-size: .86rem; }
}
@media print { .card { break-inside: avoid; } }
"""

_SCRIPT = """
const plots = JSON.parse(document.getElementById("plots").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}
function draw() {
  const narrow = innerWidth < 760, ink = color("ink"), soft = color("soft"), line = color("line");
  for (const [id, plot] of Object.entries(plots)) {
    const data = structuredClone(plot.data), layout = structuredClone(plot.layout);
    for (const trace of data) {
      const own = color(trace.meta || "c0");
      if (trace.line) trace.line.color = own;
      if (trace.marker) trace.marker.color = own;
      if (trace.type === "bar" && narrow) layout.xaxis.range[1] *= 1.12;
      if (trace.type === "bar") trace.textfont = {color: ink, size: narrow ? 11 : 12};
    }
    Object.assign(layout, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: {color: soft, size: narrow ? 11 : 13, family: "system-ui, sans-serif"},
      hoverlabel: {bgcolor: color("card"), bordercolor: line, font: {color: ink}},
    });
    for (const axis of ["xaxis", "yaxis"])
      Object.assign(layout[axis], {gridcolor: line, linecolor: line, zerolinecolor: line});
    Plotly.react(id, data, layout, {displayModeBar: false, responsive: true});
  }
}
dark.addEventListener("change", draw);
draw();
"""


def document(title: str, body: Iterable[str], plots: Mapping[str, Any], library: str) -> str:
    """The whole page.

    Args:
        title: What was measured; text.
        body: HTML, from the functions below.
        plots: Id of an element to the data and layout of its plot.
        library: Plotly's script, which is put into the page.
    """
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style></head><body><main>",
        *body,
        "</main>",
    ]
    if plots:
        data = json.dumps(plots).replace("<", "\\u003c")
        parts += [
            f'<script type="application/json" id="plots">{data}</script>',
            f"<script>{library}</script>",
            f"<script>{_SCRIPT}</script>",
        ]
    return "\n".join([*parts, "</body></html>", ""])


def head(title: str, lines: Sequence[str]) -> str:
    """The title and what stands below it."""
    below = "".join(f'<p class="soft">{escape(line)}</p>' for line in lines if line)
    return f"<header><h1>{escape(title)}</h1>{below}</header>"


def tiles(values: Sequence[tuple[str, str, str]]) -> str:
    """Large figures: name, number, unit."""
    shown = "".join(
        f'<div class="tile"><b>{escape(number)} <small>{escape(unit)}</small></b>'
        f"<span>{escape(name)}</span></div>"
        for name, number, unit in values
    )
    return f'<section class="tiles">{shown}</section>' if shown else ""


def verdicts(objectives: Sequence[Mapping[str, Any]]) -> str:
    """Objectives, each held or missed."""
    rows = "".join(
        f'<li class="{"held" if one["held"] else "missed"}">'
        f"<b>{'held' if one['held'] else 'missed'}</b> {escape(one['sentence'])}</li>"
        for one in objectives
    )
    return f'<ul class="verdicts" aria-label="Objectives">{rows}</ul>' if rows else ""


def notes(sentences: Sequence[str]) -> str:
    """What has to be known to judge the figures."""
    return "".join(f'<p class="note">{escape(sentence)}</p>' for sentence in sentences)


def card(title: str, about: str, inside: str) -> str:
    """A part of the page."""
    below = f'<p class="soft">{escape(about)}</p>' if about else ""
    return f'<section class="card"><h2>{escape(title)}</h2>{below}{inside}</section>'


def plot(name: str, height_px: int | None = None) -> str:
    """Where a plot goes."""
    style = f' style="height:{height_px}px"' if height_px else ""
    return f'<div class="plot" id="{name}"{style}></div>'


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """A table.

    Args:
        columns: Its head.
        rows: Texts; a last column without a name holds a verdict, which gives it its colour.
        words: Columns at the left that hold words; the others hold numbers.
    """
    last = len(columns) - 1
    parts = ["<tr>"]
    for number, column in enumerate(columns):
        parts.append(f"<th{_place(number, words)}>{escape(column)}</th>")
    parts.append("</tr>")
    for row in rows:
        parts.append("<tr>")
        for number, cell in enumerate(row):
            where = _place(number, words)
            if number < words and len(cell) <= ONE_LINE:
                where = ' class="w"'
            if number == last and not columns[last]:
                where = f' class="{escape(cell)}"'
            parts.append(f"<td{where}>{escape(cell)}</td>")
        parts.append("</tr>")
    return f'<div class="scroll"><table>{"".join(parts)}</table></div>'


def _place(number: int, words: int) -> str:
    return "" if number < words else ' class="n"'
