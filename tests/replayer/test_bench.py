"""The benchmark itself, on a past of a second: its figures are there and can be shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from wtp.bench.replay import Past, run
from wtp.ui.bench import table

CONFIG = {
    "tracks": 4, "fps": 30.0, "seconds": 1.0, "size_bytes": 1000, "rounds": 1, "fsync": "never",
}  # fmt: skip


def test_tracks_are_spread_over_topics() -> None:
    past = Past("pulsar://h:1", "room", 10, 30.0, 2.0, 1000)
    assert list(past.topics.values()) == [240, 180, 180]
    assert next(iter(past.topics)) == "persistent://public/default/room-video"


@pytest.mark.e2e
def test_all_objects_are_replayed_and_measured() -> None:
    said: list[str] = []
    figures = run(CONFIG, said.append)
    assert figures["objects"] == 120
    assert figures["objects_per_s"] > 0
    assert figures["times_real_time"] == pytest.approx(figures["objects_per_s"] / 120)
    assert figures["ratio"] > 0
    assert said
    console = Console(file=io.StringIO(), width=160)
    console.print(table("replay", figures))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "times_real_time" in shown
    assert "latencies" not in shown
