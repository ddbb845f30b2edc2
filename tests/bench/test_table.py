"""The table of a result: what stands in it, and that it fits narrow terminals."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from tests.bench import made
from wtp.ui import bench


def text_of(shown: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def everything() -> dict[str, Any]:
    figures = {**made.result(), "notes": ["a note"], "repeat": 2}
    figures["objectives"] = [
        {"objective": "a", "held": True, "sentence": "first."},
        {"objective": "b", "held": False, "sentence": "second."},
    ]
    figures["compared"] = {
        "band": "noise band ±10 %",
        "differences": ["fps was 30, is 60"],
        "started": "2026",
        "changes": [],
    }
    return figures


def whole(width: int) -> str:
    spread = [("p99_ms", "1 ms", "2 ms", "3 ms"), ("hops.a->b.max_ms", "1", "2", "3")]
    changes = [
        ("p99_ms", "1 ms", "2 ms", "+100.0 %", "±10 %", "worse"),
        ("hops.a->b.max_ms", "1 ms", "1 ms", "+0.0 %", "±10 %", "same"),
    ]
    return text_of(bench.whole("latency", everything(), spread=spread, changes=changes), width)


def test_every_part_is_shown_once() -> None:
    text = whole(80)
    for words in (
        "capture to receipt at the consumer",
        "pulsar-client alone",
        "send->route",
        "note: a note",
        "2 runs; figures above are medians",
        "against 2026: noise band ±10 %",
        "fps was 30, is 60",
        "held    first.",
        "missed  second.",
        "router (stalled 2)",
    ):
        assert text.count(words) == 1, words
    assert "hops.a->b.max_ms" not in text
    assert "histogram" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("width", [20, 40])
def test_narrow_terminals_break_nothing(width: int) -> None:
    assert max(len(line) for line in whole(width).splitlines()) <= width
    ranged = text_of(bench.whole("router", made.ranged()), width)
    assert max(len(line) for line in ranged.splitlines()) <= width


def test_what_is_not_known_is_called_so() -> None:
    figures = {**made.result(), "n": 0, "p50_ms": None, "ratio_p50": None}
    text = text_of(bench.whole("latency", figures))
    assert text.count("unknown") >= 2


def test_the_configuration_is_short_or_a_list() -> None:
    assert bench.configuration("x", {"rate": 30.0, "machine": "m"}) == "wtp bench x: rate 30\non m"
    assert bench.configuration("x", {}) == "wtp bench x"
    long = bench.configuration("x", {"rate": 30, "protocols": "p" * 60}).splitlines()
    assert long == ["wtp bench x", "  rate: 30", f"  protocols: {'p' * 60}"]
