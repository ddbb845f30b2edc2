"""From answers to figures: rates, windows, histories, and what is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dashboard import samples
from wtp.dashboard import view
from wtp.dashboard.brokerfigures import topic_figures, totals
from wtp.dashboard.history import MAX_TRACKS, POINTS, History
from wtp.dashboard.processfigures import ProcessFigures
from wtp.dashboard.rates import Meter, window
from wtp.dashboard.routerfigures import RouterFigures, limited

SECOND_US = 1_000_000


def test_a_rate_needs_two_answers() -> None:
    meter = Meter()
    assert meter.take(0, {"objects": 10}) == {"objects": None}
    assert meter.take(2 * SECOND_US, {"objects": 70}) == {"objects": 30.0}


def test_a_counter_that_went_back_has_no_rate() -> None:
    meter = Meter()
    meter.take(0, {"objects": 10, "bytes": 5})
    rates = meter.take(SECOND_US, {"objects": 3, "bytes": 6})
    assert rates == {"objects": None, "bytes": 1.0}
    assert meter.take(2 * SECOND_US, {"objects": 4, "bytes": 6})["objects"] == 1.0


def test_answers_of_the_same_moment_give_no_rate() -> None:
    meter = Meter()
    meter.take(5, {"objects": 10})
    assert meter.take(5, {"objects": 11}) == {"objects": None}


def test_percentiles_are_of_the_time_between_answers() -> None:
    before = samples.buckets(b8=1000)  # 100 to 250 ms, long ago
    after = [*before]
    after[3] += 100  # 2 to 5 ms
    found = window(before, after)
    assert found["n"] == 100
    assert found["p50_ms"] == pytest.approx(3.5)
    assert 2 <= found["p99_ms"] <= 5


def test_a_percentile_above_the_last_bound_is_that_bound() -> None:
    found = window(samples.buckets(), samples.buckets(b12=4))
    assert found["p99_ms"] == 2500.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, samples.buckets(b1=3)),
        (samples.buckets(b1=3), samples.buckets(b1=3)),
        (samples.buckets(b1=3), samples.buckets(b1=2)),
        ([1, 2], [1, 3]),
    ],
    ids=["first answer", "nothing new", "started anew", "other buckets"],
)
def test_without_new_values_percentiles_are_unknown(before: Any, after: list[int]) -> None:
    assert window(before, after) == {"n": 0, "p50_ms": None, "p90_ms": None, "p99_ms": None}


def test_a_history_is_bounded_and_keeps_gaps() -> None:
    history = History()
    for number in range(POINTS + 5):
        history.add({"objects_s": None if number % 2 else float(number)}, {})
    line = history.snapshot()["objects_s"]
    assert len(line) == POINTS
    assert line[-1] == POINTS + 4
    assert line[-2] is None


def test_a_track_that_is_gone_has_no_history() -> None:
    history = History()
    history.add({}, {"a": {"p99_ms": 1.0}})
    assert history.track("a")["p99_ms"] == [1.0]
    history.add({}, {})
    assert history.track("a") == {}


def test_histories_of_tracks_are_bounded() -> None:
    history = History()
    history.add({}, {str(number): {} for number in range(MAX_TRACKS + 10)})
    assert len(list(history.names())) == MAX_TRACKS


def test_a_routers_counts_become_rates() -> None:
    figures = RouterFigures()
    whole, tracks = figures.take(samples.router(100), 0)
    assert whole["objects_s"] is None
    assert tracks[samples.TRACK]["receipt"]["p50_ms"] is None
    whole, tracks = figures.take(samples.router(130, uptime_s=11.0), SECOND_US)
    assert whole["objects_s"] == 30.0
    assert whole["bits_s"] == 240_000
    row = tracks[samples.TRACK]
    assert (row["objects_s"], row["bits_s"], row["queued"]) == (30.0, 240_000, 2)
    assert row["receipt"]["n"] == 30
    assert 0.5 <= row["receipt"]["p50_ms"] <= 1.0


def test_a_router_that_was_started_anew_begins_without_rates() -> None:
    figures = RouterFigures()
    figures.take(samples.router(100, uptime_s=50.0), 0)
    whole, tracks = figures.take(samples.router(130, uptime_s=0.5), SECOND_US)
    assert whole["objects_s"] is None
    assert tracks[samples.TRACK]["receipt"]["p99_ms"] is None


def test_processors_are_listed_by_url() -> None:
    body = samples.router(services={"video": samples.service("open")})
    whole, _ = RouterFigures().take(body, 0)
    [one] = whole["processors"]
    assert (one["kind"], one["state"], one["answered"]) == ("video", "open", 42)


def test_health_gives_no_counts() -> None:
    figures = limited(samples.router())
    assert figures["sessions"] == 1
    assert figures["objects_s"] is None
    assert figures["notes"]


@pytest.mark.parametrize("body", [{}, {"uptime_s": 1, "tracks": []}, {"uptime_s": "x"}])
def test_another_answer_than_a_routers_is_noticed(body: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        RouterFigures().take(body, 0)


def test_a_consumers_latency_and_hops() -> None:
    figures = ProcessFigures("consume").take(samples.consumer(), 0)
    row = figures["tracks"][samples.TRACK]
    assert row["latency"]["p99_ms"] == 8.0
    assert row["latency"]["over"] == "start"
    assert row["latency"]["clock_error_ms"] == 0.25
    assert row["latency"]["last_ms"] == 2.5
    assert list(row["hops"]) == ["encode->send", "publish->receive"]
    assert figures["dropped"] == {"slow-output": 4}


def test_a_consumers_buckets_give_the_last_second() -> None:
    process = ProcessFigures("consume")

    def body(n: int) -> dict[str, Any]:
        given = samples.consumer(n)
        given["tracks"][samples.TRACK]["latency"]["buckets"] = samples.buckets(b4=n)
        return given

    process.take(body(50), 0)
    latency = process.take(body(80), SECOND_US)["tracks"][samples.TRACK]["latency"]
    assert latency["over"] == "second"
    assert latency["n"] == 80
    assert 5 <= latency["p50_ms"] <= 10


def test_a_consumer_that_gets_nothing_shows_no_last_figure() -> None:
    process = ProcessFigures("consume")
    process.take(samples.consumer(50), 0)
    still = process.take(samples.consumer(50), 2 * SECOND_US)
    assert still["latency"] is not None
    stale = process.take(samples.consumer(50), 5 * SECOND_US)
    assert stale["latency"] is None
    assert stale["tracks"][samples.TRACK]["latency"] is None
    assert stale["tracks"][samples.TRACK]["hops"] == {}
    back = process.take(samples.consumer(51), 6 * SECOND_US)
    assert back["latency"] is not None


@pytest.mark.parametrize(
    ("role", "body", "objects", "queued", "p99"),
    [
        (
            "publish",
            {"state": "open", "clock_error_us": 1500, "tracks": {
                "video": {"offered": 7, "bytes": 9, "queue_objects": 3, "dropped": {"late": 1}}}},
            7, 3, None,
        ),
        (
            "processor",
            {"status": "ok", "objects": {"offered": 5, "in_flight": 2, "dropped": {}},
             "took": samples.latency()},
            5, 2, 8.0,
        ),
        (
            "watch",
            {"state": "reading", "ledger": {"offered": 4, "in_flight": 1, "dropped": {}},
             "latency": samples.latency()},
            4, 1, 8.0,
        ),
        (
            "chat",
            {"read": {"state": "reading", "objects": 2, "dropped": {}}, "session": {}},
            2, None, None,
        ),
        ("record", {"state": "recording", "objects": 6, "bytes": 1, "dropped": {}}, 6, None, None),
        ("new-command", {}, None, None, None),
    ],
    ids=["publish", "processor", "watch", "chat", "record", "unknown"],
)  # fmt: skip
def test_every_role_is_read(
    role: str, body: dict[str, Any], objects: int | None, queued: int | None, p99: float | None
) -> None:
    figures = ProcessFigures(role).take(body, 0)
    assert figures["objects"] == objects
    assert figures["queued"] == queued
    assert (figures["latency"] or {}).get("p99_ms") == p99


def test_a_publishers_clock_error_is_in_ms() -> None:
    body = {"state": "open", "clock_error_us": 1500, "tracks": {}}
    assert ProcessFigures("publish").take(body, 0)["clock_error_ms"] == 1.5


def test_a_topics_lag_is_that_of_its_slowest_subscription() -> None:
    figures = topic_figures(samples.topic_stats(), Meter(), 0)
    assert (figures["in_s"], figures["backlog"]) == (30.0, 7)
    assert figures["subscriptions"]["slow"]["backlog"] == 7
    whole = totals({"a": figures, "b": figures})
    assert (whole["topics"], whole["in_s"], whole["backlog"]) == (2, 60.0, 7)


def test_a_topics_rates_are_those_of_its_counters() -> None:
    meter = Meter()
    topic_figures(samples.topic_stats(100), meter, 0)
    figures = topic_figures(samples.topic_stats(150), meter, 5 * SECOND_US)
    assert (figures["in_s"], figures["out_s"], figures["in_bits_s"]) == (10.0, 20.0, 80_000)


def _tracks() -> dict[str, dict[str, Any]]:
    whole = RouterFigures()
    whole.take(samples.router(100), 0)
    _, tracks = whole.take(samples.router(130, uptime_s=11.0), SECOND_US)
    return tracks


def test_a_track_has_its_slowest_consumer() -> None:
    slow = samples.consumer()
    slow["tracks"][samples.TRACK]["latency"]["p99_ms"] = 80.0
    consumers = {
        pid: ProcessFigures("consume").take(body, 0)["tracks"]
        for pid, body in ((1, samples.consumer()), (2, slow), (3, samples.consumer()))
    }
    row = view.tracks_of({"https://r": _tracks()}, consumers)[samples.TRACK]
    assert (row["latency"]["pid"], row["latency"]["p99_ms"]) == (2, 80.0)
    assert row["router"] == "https://r"


def test_a_track_that_only_a_consumer_sees_is_there() -> None:
    consumers = {7: ProcessFigures("consume").take(samples.consumer(), 0)["tracks"]}
    row = view.tracks_of({}, consumers)[samples.TRACK]
    assert row["router"] is None
    assert row["objects_s"] == 30.0
    assert row["queued"] is None


def test_a_history_has_percentiles_of_seconds_or_the_newest_object() -> None:
    consumers = {7: ProcessFigures("consume").take(samples.consumer(), 0)["tracks"]}
    row = view.tracks_of({"https://r": _tracks()}, consumers)[samples.TRACK]
    assert view.point(row)["p99_ms"] is None
    assert view.point(row)["last_ms"] == 2.5
    bare = view.tracks_of({"https://r": _tracks()}, {})[samples.TRACK]
    assert view.point(bare)["p99_ms"] == bare["receipt"]["p99_ms"]


def test_rooms_are_sums_over_tracks() -> None:
    first, second = _tracks(), _tracks()
    rows = view.tracks_of(
        {
            "https://a": {"ops/cam/video": first[samples.TRACK]},
            "https://b": {"ops/mic/audio": second[samples.TRACK], "x/y/z": first[samples.TRACK]},
        },
        {},
    )
    rooms = view.rooms_of(rows)
    assert rooms["ops"] == {"tracks": 2, "publishers": 2, "objects_s": 60.0, "bits_s": 480_000}
    assert rooms["x"]["tracks"] == 1


def test_drops_stand_by_hop_in_the_order_of_the_path() -> None:
    body = samples.router(services={"video": samples.service()}, refused={"name-taken": 1})
    body["objects"]["dropped"] = {"stale-group": 2}
    whole, _ = RouterFigures().take(body, 0)
    processes = [
        {"role": "consume", "dropped": {"slow-output": 4}},
        {"role": "publish", "dropped": {"late": 1, "never": 0}},
    ]
    drops = view.drops_of([whole], processes)
    assert list(drops) == ["publish", "router", "refused", "processor video", "consume"]
    assert drops["publish"] == {"late": 1}
    assert drops["processor video"] == {"filtered": 3}


def test_the_whole_is_unknown_without_a_router() -> None:
    gone = {**samples.present("gone"), **dict.fromkeys(view.ROUTER_UNKNOWN), "processors": []}
    whole = view.whole_of([gone], {})
    assert set(whole.values()) == {None}


def test_a_steady_stream_has_a_steady_rate_whatever_the_pauses() -> None:
    meter = Meter()
    times_us = [number * SECOND_US for number in (0, 1, 4, 5)]
    rates = [meter.take(at_us, {"n": at_us // SECOND_US * 30})["n"] for at_us in times_us]
    assert rates == [None, 30.0, 30.0, 30.0]
