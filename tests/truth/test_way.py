"""Hops are cut at the stamps that are there: they add up, and what is unknown stays unknown."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from tests.consumer.fakes import DOMAIN, SETTINGS, FakeMessage, item, message
from wtp.clock import monotonic_us
from wtp.consumer.hops import PLACES, USUAL, Way, hop_name
from wtp.consumer.item import Item, Seen
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.consumer.stats import MAX_TRACKS, Statistics
from wtp.model import STAMPS, Kind
from wtp.ui import consume as ui
from wtp.ui.waterfall import Waterfall

TRACK = "default/cam/video"
ALL_US = dict(zip(STAMPS, (1000, 3000, 4000, 6000, 9000, 9500), strict=True))
RECEIVE_US = 14_000


def text(shown: RenderableType, width: int = 120, encoding: str = "utf-8") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=out, width=width, highlight=False, color_system=None).print(shown)
    out.seek(0)
    return out.read()


def one(seq: int = 1, *, receive: int | None = RECEIVE_US, at_us: int = 0, **stamps: int) -> Item:
    made = message(seq, stamps=stamps, at_us=at_us)
    return item(made, receive_us=None if receive is None else DOMAIN.anchor_us + receive)


def counted(*items: Item) -> Statistics:
    stats = Statistics()
    for each in items:
        stats.add(each)
    return stats


def means(hops: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    return {name: hop["mean_ms"] for name, hop in hops.items()}


def test_a_processed_object_has_the_processor_s_hop() -> None:
    figures = counted(one(**ALL_US)).snapshot(0)
    assert means(figures["tracks"][TRACK]["hops"]) == {
        "capture->encode": 2.0,
        "encode->send": 1.0,
        "send->route": 2.0,
        "route->process": 3.0,
        "process->publish": 0.5,
        "publish->receive": 4.5,
    }
    assert figures["latency"]["hops"] == figures["tracks"][TRACK]["hops"]


def test_what_a_topic_processor_made_has_the_way_to_it() -> None:
    made = message(1, stamps=ALL_US)
    more = {"broker_us": 6500, "processor_us": 7500}
    properties = dict(made.properties)
    properties.update({name: str(DOMAIN.anchor_us + value) for name, value in more.items()})
    properties["event"] = "x"
    whole = FakeMessage(
        made.topic, made.key, properties, made.payload, 0, made.position, made.receive_monotonic_us
    )
    received = item(whole, receive_us=DOMAIN.anchor_us + RECEIVE_US)
    assert received.obj is not None
    assert received.obj.attributes == {"event": "x"}
    hops = means(counted(received).snapshot(0)["latency"]["hops"])
    assert list(hops.items())[3:] == [
        ("route->broker", 0.5),
        ("broker->processor", 1.0),
        ("processor->process", 1.5),
        ("process->publish", 0.5),
        ("publish->receive", 4.5),
    ]


@given(
    st.sets(st.sampled_from(STAMPS)),
    st.lists(st.integers(0, 10**6), min_size=7, max_size=7),
)
def test_hops_add_up_whatever_stamps_are_missing(names: set[str], steps: list[int]) -> None:
    at_us, stamps = 1000, {}
    for name, step in zip(STAMPS, steps, strict=False):
        at_us += step
        if name in names:
            stamps[name] = at_us
    way = Way()
    way.add(one(receive=at_us + steps[-1], **stamps))
    if stamps:
        whole = at_us + steps[-1] - min(stamps.values())
        assert sum(hop.sum_us for hop in way.by_name().values()) == whole
    figures = way.snapshot(whole="capture_us" in names)
    unknown = {name for name, hop in figures.items() if not hop["n"]}
    assert unknown <= {hop_name(hop) for hop in USUAL}
    for name in unknown:
        assert {v for k, v in figures[name].items() if k != "n"} == {None}
    shares = [hop["share"] for hop in figures.values() if hop["share"] is not None]
    if "capture_us" in names and any(steps):
        assert sum(shares) == pytest.approx(1.0, abs=1e-3) or not any(
            hop["mean_ms"] for hop in figures.values()
        )
    else:
        assert not shares or not any(steps)


def test_without_a_capture_time_no_share_is_known() -> None:
    figures = counted(one(route_us=6000, publish_us=9000)).snapshot(0)
    hops = figures["tracks"][TRACK]["hops"]
    assert [name for name, hop in hops.items() if not hop["n"]] == [
        "capture->encode", "encode->send", "send->route",
    ]  # fmt: skip
    assert {hop["share"] for hop in hops.values()} == {None}
    assert figures["tracks"][TRACK]["clock_error_ms"] is None


def test_waiting_decoding_and_showing_are_hops_of_their_own() -> None:
    stats = counted(*(one(seq, at_us=100_000, **ALL_US) for seq in (1, 2)))
    first, second = one(1, at_us=100_000, **ALL_US), one(2, at_us=100_000, **ALL_US)
    stats.took([first, second], 101_000)
    stats.saw([Seen(first, 104_000, None), Seen(second, 106_000, 113_000)], 101_000)
    figures = stats.snapshot(0)["latency"]
    hops = figures["hops"]
    assert [hops[name]["n"] for name in PLACES_TO_SHOW] == [2, 2, 1]
    assert [hops[name]["mean_ms"] for name in PLACES_TO_SHOW] == [1.0, 4.0, 7.0]
    assert figures["total"]["p50_ms"] == pytest.approx(13.0, rel=0.002)
    assert figures["capture_to_show"]["max_ms"] == 26.0
    assert sum(hop["share"] or 0 for hop in hops.values()) == pytest.approx(1.0, abs=1e-3)
    assert hops["decode->show"]["share"] == pytest.approx(7 / 25, abs=1e-3)
    stats.reset_latency()
    stats.took([first], 101_000)
    assert stats.hops["receive->take"].n == 1


PLACES_TO_SHOW = [f"{a}->{b}" for a, b in pairwise(PLACES[8:])]


def test_the_past_and_strangers_are_not_measured() -> None:
    stats = Statistics()
    old = item(message(1, stamps=ALL_US), live=False, receive_us=DOMAIN.anchor_us + 10**9)
    stats.add(old)
    stats.took([old, one(2, **ALL_US), item(message(1, track="default/x/video"))], 10**9)
    assert {name: hop.n for name, hop in stats.hops.items()} == {"receive->take": 1}
    stats.saw([Seen(item(message(1, track="default/x/video")), 5, 6)], 4)
    assert list(stats.hops) == ["receive->take"]


def test_tracks_that_gave_way_still_count_in_all() -> None:
    stats = Statistics()
    for number in range(MAX_TRACKS + 10):
        made = message(1, track=f"default/p{number}/video", stamps=ALL_US)
        stats.add(item(made, receive_us=DOMAIN.anchor_us + RECEIVE_US))
    assert stats.hops["capture->encode"].n == MAX_TRACKS + 10


def test_figures_of_long_ago_are_called_so() -> None:
    now_us = monotonic_us()
    role = Consumer(SETTINGS, Request(kind=Kind.VIDEO))
    role.stats.add(one(1, at_us=now_us - 12_000_000, **ALL_US))
    figures = role.snapshot()
    assert figures["latency"]["last_ms"] is None
    assert figures["tracks"][TRACK]["last_ms"] is None
    assert 12.0 <= figures["latency"]["silent_s"] < 60
    line = ui.line(figures)
    assert re.search(r"nothing for \d\d s", line)
    assert "p50" not in line
    assert "unknown" in role.brief()
    assert "silent" in text(ui.tracks(figures))
    assert "the figures are of before" in text(ui.summary(figures))
    role.stats.add(one(2, at_us=monotonic_us() + 60_000_000, **ALL_US))
    figures = role.snapshot()
    assert figures["latency"]["last_ms"] == figures["tracks"][TRACK]["last_ms"] == 13.0
    assert "nothing for" not in ui.line(figures)
    assert "13.0 ms" in role.brief()


def test_the_measured_clock_is_shown_with_its_error() -> None:
    role = Consumer(SETTINGS, Request(kind=Kind.VIDEO))
    role.stats.add(one(1, at_us=monotonic_us() + 60_000_000, **ALL_US))
    clock = {"state": "measured", "offset_us": -1500, "error_us": 250, "drift_ppm": 3.21}
    line = ui.line({**role.snapshot(), "clock": clock})
    assert "clock offset -1.50 ms ± 0.25 ms, drift 3.2 ppm" in line
    assert "offset" not in ui.line({**role.snapshot(), "clock": {**clock, "state": "shared"}})


def waterfall() -> Waterfall:
    stats = counted(*(one(seq, at_us=100_000, **ALL_US) for seq in range(1, 31)))
    stats.took([one(1, at_us=100_000, **ALL_US)], 101_000)
    figures = stats.snapshot(0)
    beside = {"publish->receipt": {"n": 30, "p50_ms": 0.4, "p90_ms": 0.5, "p99_ms": 0.75}}
    return Waterfall(figures["latency"], title="a\x1bb", clock_error_ms=0.0, beside=beside)


@pytest.mark.parametrize("width", [1, 2, 5, 20, 40, 60, 80, 200])
def test_a_waterfall_fits_every_terminal(width: int) -> None:
    made = waterfall()
    for shown in (made.plain(width), text(made, width), text(made, width, "ascii")):
        assert max(len(line) for line in shown.splitlines()) <= width
        assert "\x1b" not in shown


def test_bars_begin_where_the_one_before_ended() -> None:
    lines = waterfall().plain(80, blocks=False).splitlines()
    assert lines[0] == "a?b"
    bars = {line.split()[0]: line for line in lines if "#" in line}
    ends = [(bar.index("#"), bar.rindex("#")) for bar in bars.values()]
    assert list(bars)[:2] == ["capture->encode", "encode->send"]
    for before, after in pairwise(ends):
        assert 0 <= after[0] - before[1] <= 2 or after[0] == before[0]
    assert max(end for _, end in ends) <= 80
    shares = {line.split()[0]: line.split()[-1] for line in lines if line.endswith("%")}
    assert shares["capture->receive"] == "%"
    assert next(line for line in lines if line.startswith("publish->receipt")).split()[1:] == [
        "30", "0.40", "0.50", "0.75",
    ]  # fmt: skip
    assert lines[-1] == "capture->receive: n 30, clock error 0.00 ms"


def test_a_waterfall_says_unknown_and_never_zero() -> None:
    figures = counted(one(receive=None, route_us=5000, publish_us=6000)).snapshot(0)
    track = figures["tracks"][TRACK]
    shown = Waterfall.of_track("", track).plain(80)
    assert "(no key)" in shown
    assert "0.00" not in shown
    assert shown.count("unknown") == 5 * 3 + 1, "four hops and the whole, three figures; the error"
    assert "%" not in shown


def test_every_track_has_its_waterfall() -> None:
    role = Consumer(SETTINGS, Request(kind=Kind.VIDEO))
    for number in range(6):
        made = message(1, track=f"default/p{number}/video", stamps=ALL_US, at_us=monotonic_us())
        role.stats.add(item(made, receive_us=DOMAIN.anchor_us + RECEIVE_US))
    for shown in (ui.screen, ui.summary):
        found = text(shown(role.snapshot(), waterfall=True))
        assert found.count("capture->receive: n 1") == 4
        assert "and 2 more" in found
        assert "capture->receive: n" not in text(shown(role.snapshot()))


def test_stamps_of_a_sender_whose_clock_is_unknown_make_no_figure() -> None:
    stats = Statistics()
    years_us = 10**14
    stamps = {**ALL_US, "capture_us": 1000 - years_us, "encode_us": 3000 - years_us}
    stamps["send_us"] = 4000 - years_us
    made = message(1, stamps=stamps, clock_error_us=None)
    stats.add(item(made, receive_us=DOMAIN.anchor_us + RECEIVE_US))
    figures = stats.snapshot(0)
    hops = figures["tracks"][TRACK]["hops"]
    assert {name: hop["mean_ms"] for name, hop in hops.items()} == {
        "capture->encode": 2.0,
        "encode->send": 1.0,
        "send->route": None,
        "route->process": 3.0,
        "process->publish": 0.5,
        "publish->receive": 4.5,
    }
    assert figures["latency"]["total"]["n"] == figures["latency"]["send_to_receive"]["n"] == 0
    assert (figures["latency"]["unknown"], figures["clock_error_ms"]) == (1, None)
    assert {hop["share"] for hop in hops.values()} == {None}
