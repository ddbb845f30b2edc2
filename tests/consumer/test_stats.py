from __future__ import annotations

import pytest

from tests.consumer.fakes import DOMAIN, foreign, item, message
from wtp.consumer.stats import MAX_TRACKS, Rate, Sequence, Statistics

STAMPS = {
    "capture_us": 1000,
    "encode_us": 3000,
    "send_us": 4000,
    "route_us": 6000,
    "publish_us": 7000,
}


def stamped(seq: int, receive: int = 11_000, **more: int) -> Statistics:
    stats = Statistics()
    stats.add(item(message(seq, stamps={**STAMPS, **more}), receive_us=DOMAIN.anchor_us + receive))
    return stats


def test_every_hop_and_the_whole_way_are_counted() -> None:
    figures = stamped(1).snapshot(0)["latency"]
    wanted = {
        "capture->encode": 2.0,
        "encode->send": 1.0,
        "send->route": 2.0,
        "route->publish": 1.0,
        "publish->receive": 4.0,
    }
    for name, value in wanted.items():
        assert figures["hops"][name]["n"] == 1
        assert figures["hops"][name]["p50_ms"] == pytest.approx(value, rel=0.01)
    assert figures["total"]["p50_ms"] == pytest.approx(10, rel=0.01)
    assert figures["send_to_receive"]["max_ms"] == 7.0
    assert figures["last_ms"] == 10.0


def test_a_missing_stamp_is_unknown_and_never_zero() -> None:
    stats = Statistics()
    stats.add(item(message(1, stamps={"route_us": 5, "publish_us": 6}), receive_us=None))
    snapshot = stats.snapshot(0)
    assert snapshot["latency"]["total"]["n"] == 0
    assert snapshot["latency"]["total"]["p50_ms"] is None
    assert snapshot["latency"]["hops"]["capture->encode"]["p50_ms"] is None
    assert snapshot["latency"]["hops"]["route->publish"]["n"] == 1
    assert snapshot["latency"]["unknown"] == 1
    assert snapshot["clock_error_ms"] is None
    assert snapshot["tracks"]["default/cam/video"]["latency"]["p50_ms"] is None


def test_objects_from_before_joining_say_nothing_about_latency() -> None:
    stats = Statistics()
    stats.add(item(message(1, stamps=STAMPS), live=False, receive_us=DOMAIN.anchor_us + 10**9))
    snapshot = stats.snapshot(0)
    assert snapshot["objects"] == snapshot["past"] == 1
    assert snapshot["latency"]["total"]["n"] == 0


def test_negative_latency_is_told() -> None:
    assert stamped(1, receive=500).snapshot(0)["latency"]["negative"] == 1


def test_the_largest_clock_error_counts_and_an_unknown_one_makes_it_unknown() -> None:
    stats = stamped(1)
    assert stats.snapshot(0)["clock_error_ms"] == 0
    from dataclasses import replace

    known = item(message(2, stamps=STAMPS), receive_us=DOMAIN.anchor_us + 9000)
    stats.add(replace(known, clock_error_us=1500))
    assert stats.snapshot(0)["clock_error_ms"] == 1.5
    stats.add(replace(known, clock_error_us=None))
    assert stats.snapshot(0)["clock_error_ms"] is None


def test_resetting_forgets_latencies_and_keeps_counts() -> None:
    stats = stamped(1)
    stats.reset_latency()
    snapshot = stats.snapshot(0)
    assert snapshot["objects"] == 1
    assert snapshot["latency"]["total"]["n"] == 0
    assert snapshot["tracks"]["default/cam/video"]["latency"]["n"] == 0


def test_gaps_late_and_repeated_objects() -> None:
    sequence = Sequence()
    assert [sequence.add(seq) for seq in (5, 6, 9, 7, 7, 8, 10)] == [
        (0, ""),
        (0, ""),
        (2, ""),
        (-1, "late"),
        (0, "duplicate"),
        (-1, "late"),
        (0, ""),
    ]


def test_gaps_are_counted_within_one_instance() -> None:
    stats = Statistics()
    for seq, instance in ((1, "a"), (2, "a"), (1, "b"), (4, "b"), (5, "b"), (5, "b")):
        stats.add(item(message(seq, instance=instance)))
    snapshot = stats.snapshot(0)
    assert (snapshot["gaps"], snapshot["duplicates"], snapshot["late"]) == (2, 1, 0)


def test_a_huge_jump_is_counted_without_remembering_it_all() -> None:
    sequence = Sequence()
    sequence.add(1)
    assert sequence.add(2**62) == (2**62 - 2, "")
    assert len(sequence.missing) <= 1024


def test_shared_subscriptions_do_not_claim_gaps() -> None:
    stats = Statistics(sequences=False)
    for seq in (1, 9):
        stats.add(item(message(seq)))
    assert stats.snapshot(0)["gaps"] is None


def test_foreign_messages_count_without_latency() -> None:
    stats = Statistics()
    stats.add(item(foreign(b"12345")))
    snapshot = stats.snapshot(0)
    assert (snapshot["objects"], snapshot["bytes"], snapshot["not_wtp"]) == (1, 5, 1)
    assert snapshot["latency"]["unknown"] == 1


def test_tracks_are_bounded_and_totals_stay_exact() -> None:
    stats = Statistics()
    for number in range(MAX_TRACKS * 2):
        for seq in (1, 1):
            stats.add(item(message(seq, track=f"default/p{number}/video")))
    snapshot = stats.snapshot(0)
    assert len(snapshot["tracks"]) == MAX_TRACKS
    assert f"default/p{MAX_TRACKS * 2 - 1}/video" in snapshot["tracks"]
    assert snapshot["duplicates"] == MAX_TRACKS * 2


def test_rate_is_that_of_the_last_two_seconds() -> None:
    rate = Rate()
    assert rate.at(10**9) == (0.0, 0.0)
    for number in range(300):
        rate.add(number * 33_333, 1000)
    objects, size = rate.at(10_000_000)
    assert objects == pytest.approx(30, rel=0.05)
    assert size == pytest.approx(30_000, rel=0.05)
    assert rate.at(20_000_000) == (0.0, 0.0)


def test_what_was_there_before_joining_is_no_rate() -> None:
    stats = Statistics()
    for seq in range(1, 91):
        stats.add(item(message(seq, at_us=seq), live=False))
    for seq in range(91, 121):
        stats.add(item(message(seq, at_us=(seq - 91) * 33_333), live=True))
    snapshot = stats.snapshot(1_000_000)
    assert (snapshot["objects"], snapshot["past"]) == (120, 90)
    assert snapshot["fps"] == pytest.approx(30, rel=0.05)
    track = snapshot["tracks"]["default/cam/video"]
    assert (track["fps"], track["rate"]) == (snapshot["fps"], snapshot["rate"])
