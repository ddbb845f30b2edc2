"""The hops of watched pictures: with the way to the screen they are the whole latency."""

from __future__ import annotations

import pytest

from tests.watcher.fakes import pictures
from tests.watcher.test_screen import scene
from wtp.clock import monotonic_us
from wtp.ui.watch import waterfall
from wtp.watcher.room import _latency
from wtp.watcher.screen import MAX_COST_US

pytestmark = pytest.mark.device("opencv")

WAY_US = 5_000
DELAY_MS = 100


def test_the_hops_of_pictures_add_up_to_their_latency() -> None:
    first_us = monotonic_us() + 600_000
    with scene(DELAY_MS) as one:
        one.take(pictures(6, first_us=first_us, way_us=WAY_US))
        last_us = first_us + 5 * 40_000
        one.window.until(lambda: one.window.codes[-1:] == [last_us])
    hops, shown = one.roster.way().by_name(), one.screen.latency
    (publisher,) = one.roster.snapshot()
    assert list(hops) == ["capture->receive", "receive->take", "take->decode", "decode->show"]
    assert hops.pop("capture->receive").sum_us == 6 * WAY_US
    assert {hop.n for hop in hops.values()} == {shown.n}
    assert sum(hop.sum_us for hop in hops.values()) + shown.n * WAY_US == shown.sum_us
    assert (hops["receive->take"].least_us or 0) >= DELAY_MS * 1000 - MAX_COST_US - WAY_US
    (track,) = publisher["tracks"].values()
    assert sum(hop["share"] or 0 for hop in track["hops"].values()) == pytest.approx(1, abs=1e-3)
    assert track["clock_error_ms"] == 0.0
    lines = waterfall(_latency(one.screen, one.roster.way())).plain(80).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [*list(track["hops"]), "capture->show"]
    assert lines[-1] == f"capture->show: n {shown.n}, clock error 0.00 ms"


def test_the_past_is_not_measured_and_those_who_left_still_count() -> None:
    with scene(DELAY_MS) as one:
        one.take(pictures(3, first_us=monotonic_us() + 300_000))
        one.window.until(lambda: one.screen.shown > 0)
        before = {name: hop.n for name, hop in one.roster.way().by_name().items()}
        one.roster.expire(monotonic_us() + 3_600_000_000)
        after = {name: hop.n for name, hop in one.roster.way().by_name().items()}
        assert one.roster.snapshot() == []
    assert before["capture->receive"] == after["capture->receive"] == 3
