"""A benchmark's result as text: JSON, JSON lines, CSV, HdrHistogram log.

JSON holds everything. JSON lines and CSV have one line for each run and each point of a range; the
head of the CSV names every figure with its unit. The HdrHistogram log (format 1.2, V2 histograms of
µs) has one interval for each histogram; what a histogram is of stands in its tag.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from wtp.bench.units import flat
from wtp.errors import WtpError

Figures = Mapping[str, Any]

US_PER_MS = 1000.0


def as_json(figures: Figures) -> str:
    """One indented document."""
    return json.dumps(figures, indent=2, default=str) + "\n"


def each(figures: Figures) -> Iterator[dict[str, Any]]:
    """The figures of every run and point, with `run` (from 1) and `label` where there are such."""
    for number, run in enumerate(figures.get("runs") or [figures], 1):
        which: dict[str, Any] = {"run": number} if figures.get("runs") else {}
        for point in run.get("series") or [run]:
            yield {**which, **point}


def as_jsonl(figures: Figures) -> str:
    """One line for each run and point."""
    about = {key: figures[key] for key in ("bench", "started") if key in figures}
    config = {"configuration": figures.get("configuration", {})}
    lines = (json.dumps({**about, **one, **config}, default=str) for one in each(figures))
    return "".join(f"{line}\n" for line in lines)


def as_csv(figures: Figures) -> str:
    """A head, and one row for each run and point; an unknown figure is an empty field."""
    rows = list[dict[str, Any]]()
    for one in each(figures):
        words: dict[str, Any] = {str(key): one[key] for key in ("run", "label") if key in one}
        rows.append({**words, **dict(flat(one))})
    head = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, head, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def histograms(figures: Figures) -> Iterator[tuple[str, str, float]]:
    """Every histogram: its tag (empty for the figure the benchmark is about), itself, seconds."""
    for one in each(figures):
        which = [f"run-{one['run']}"] if "run" in one else []
        which += [str(one["label"])] if "label" in one else []
        seconds = float((one.get("timeline") or [{}])[-1].get("t_s", 0.0))
        for name, text in _inside(one):
            yield ".".join([*which, *name]), text, seconds


def _inside(figures: Figures, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(figures.get("histogram"), str):
        yield path, figures["histogram"]
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from _inside(value, (*path, key))


def as_hdr(figures: Figures) -> str:
    """An HdrHistogram log.

    Raises:
        WtpError: The benchmark keeps no histogram.
    """
    from hdrh.histogram import HdrHistogram
    from hdrh.log import HistogramLogWriter

    began = datetime.fromisoformat(str(figures.get("started") or datetime.now(UTC).isoformat()))
    out = io.StringIO()
    writer = HistogramLogWriter(out)
    writer.output_comment(f"[wtp bench {figures.get('bench', '')}; values in µs, max in ms]")
    writer.output_log_format_version()
    at_s = began.timestamp()
    writer.output_comment(f"[StartTime: {at_s:.3f} (seconds since epoch), {began.isoformat()}]")
    writer.output_legend()
    found = list(histograms(figures))
    if not found:
        raise WtpError(
            "This benchmark keeps no histogram.", hint="Take -o json, jsonl or csv for its figures."
        )
    for tag, text, seconds in found:
        if tag:
            out.write(f"Tag={re.sub(r'[^A-Za-z0-9._>/-]+', '-', tag)},")
        # The library's own line would cut the maximum to whole milliseconds.
        max_ms = HdrHistogram.decode(text).get_max_value() / US_PER_MS
        out.write(f"{at_s:.3f},{seconds or 1.0:.3f},{max_ms:.3f},{text}\n")
    return out.getvalue()
