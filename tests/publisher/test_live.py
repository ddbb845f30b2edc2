"""Live tracks: one stream per group, whole objects dropped, every one counted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.publisher.fakes import FakeStreams, FakeTime, line_to
from wtp.model import Kind
from wtp.publisher.live import DROPPED_GROUP, MAX_STREAMS, STALL_MS, LiveTrack, Unit
from wtp.publisher.session import TrackSpec
from wtp.transport.session import LIVE, URGENT

H264 = TrackSpec(1, "video", Kind.VIDEO, "video/h264")
JPEG = TrackSpec(2, "photos", Kind.VIDEO, "image/jpeg")
STALL_US = STALL_MS * 1000


class Rig:
    """A track with its doubles; counts how often a key was asked for."""

    def __init__(self, spec: TrackSpec = H264, *, stuck: bool = False, attach: bool = True) -> None:
        self.time = FakeTime()
        self.clock = self.time.clock()
        self.keys = 0
        self.track = LiveTrack(spec, self.clock, self._asked)
        self.streams = FakeStreams(stuck=stuck)
        if attach:
            self.track.attach(line_to(self.streams, self.clock), -1)

    def _asked(self) -> None:
        self.keys += 1

    def offer(self, kinds: str, size: int = 100, step_us: int = 0) -> None:
        """`K` is a key object, anything else one that is not."""
        for letter in kinds:
            now = self.clock.now_us()
            self.track.offer(Unit(bytes(size), letter == "K", now, now, 33_000))
            self.time.us += step_us

    @property
    def dropped(self) -> dict[str, int]:
        return {k: v for k, v in self.track.ledger.dropped.items() if v}

    def seqs(self) -> list[int]:
        return [obj.seq for obj in self.streams.objects()]


def test_one_stream_per_group_ended_by_the_next_key() -> None:
    rig = Rig()
    rig.offer("KddKd")
    first, second = rig.streams.all()
    assert first.ended
    assert not second.ended
    assert [(o.seq, o.group, o.key) for o in first.objects()] == [
        (1, 1, True), (2, 1, False), (3, 1, False),
    ]  # fmt: skip
    assert [o.seq for o in second.objects()] == [4, 5]


def test_intra_objects_end_their_own_stream_at_once() -> None:
    rig = Rig(JPEG)
    rig.offer("KKK")
    assert [stream.ended for stream in rig.streams.all()] == [True] * 3


def test_stamps_are_shifted_to_the_router() -> None:
    rig = Rig(attach=False)
    rig.track.attach(line_to(rig.streams, rig.clock, shift_us=7), -1)
    rig.offer("K")
    (obj,) = rig.streams.objects()
    now = rig.clock.now_us()
    assert (obj.capture_us, obj.encode_us, obj.send_us) == (now + 7,) * 3


def test_without_a_session_everything_drops_until_a_key_comes() -> None:
    rig = Rig(attach=False)
    rig.offer("Kd")
    rig.track.attach(line_to(rig.streams, rig.clock), -1)
    assert rig.keys == 1
    rig.offer("ddKd")
    assert rig.dropped == {"no-session": 4}
    assert rig.seqs() == [5, 6]
    assert rig.keys == 1


def test_a_stall_drops_objects_up_to_the_next_key_and_asks_for_one() -> None:
    rig = Rig(stuck=True)
    rig.offer("Kd")
    rig.time.us += STALL_US + 1
    rig.offer("dd")
    assert rig.dropped == {"queue": 2}
    assert rig.keys == 0, "a key while the way is blocked would make it worse"
    rig.streams.acknowledge()
    rig.offer("d")
    assert rig.dropped == {"queue": 3}
    assert rig.keys == 1
    rig.offer("d")
    assert rig.keys == 1
    rig.streams.stuck = False
    rig.offer("Kd")
    assert rig.seqs() == [1, 2, 7, 8]


def test_a_key_on_a_stall_resets_the_older_groups() -> None:
    rig = Rig(stuck=True)
    rig.offer("Kdd")
    rig.time.us += STALL_US + 1
    rig.offer("K")
    old, new = rig.streams.all()
    assert old.reset_code == DROPPED_GROUP
    assert [o.seq for o in new.objects()] == [4]
    assert rig.dropped == {"stale-group": 3}
    assert rig.track.sent == 1
    assert rig.track.ledger.balanced


def test_objects_that_were_acknowledged_before_a_reset_stay_counted_as_sent() -> None:
    rig = Rig(stuck=True)
    rig.offer("Kd")
    rig.streams.acknowledge()
    rig.offer("d")
    rig.time.us += STALL_US + 1
    rig.offer("K")
    assert rig.dropped == {"stale-group": 1}
    assert rig.track.sent == 3
    rig.track.counted({"received": 3}, final=True)
    assert rig.track.ledger.delivered == 3
    assert rig.track.ledger.in_flight == 0
    assert rig.track.ledger.balanced


def test_what_arrived_after_all_is_taken_back_from_the_drops() -> None:
    rig = Rig(stuck=True)
    rig.offer("Kd")
    rig.time.us += STALL_US + 1
    rig.offer("K")
    assert rig.dropped == {"stale-group": 2}
    rig.track.counted({"received": 2}, final=False)
    rig.track.counted({"received": 3}, final=True)
    assert rig.dropped == {}
    assert rig.track.ledger.delivered == 3
    assert rig.track.ledger.balanced


def test_a_long_round_trip_is_no_stall() -> None:
    rig = Rig(stuck=True, attach=False)
    line = line_to(rig.streams, rig.clock)
    rig.track.attach(type(line)(rig.streams, rig.clock, 0, round_trip_ms=600.0), -1)
    rig.offer("K")
    rig.time.us += STALL_US + 100_000
    rig.offer("d")
    assert rig.dropped == {}


def test_too_many_streams_are_a_stall() -> None:
    rig = Rig(JPEG, stuck=True)
    rig.offer("K" * (MAX_STREAMS + 2))
    assert rig.dropped["stale-group"] == MAX_STREAMS + 1
    assert rig.track.ledger.balanced


def test_no_stream_credit_drops_and_goes_on_with_a_key() -> None:
    rig = Rig()
    rig.streams.no_credit = True
    rig.offer("Kd")
    assert rig.dropped == {"queue": 2}
    rig.streams.no_credit = False
    rig.offer("dKd")
    assert rig.seqs() == [4, 5]


def test_too_large_is_dropped_with_what_depends_on_it() -> None:
    rig = Rig()
    rig.offer("K")
    rig.offer("d", size=Kind.VIDEO.max_bytes + 1)
    rig.offer("dK")
    assert rig.dropped == {"too-large": 2}
    assert rig.keys == 1
    assert rig.seqs() == [1, 4]


def test_a_lost_session_loses_what_nobody_confirmed() -> None:
    rig = Rig()
    rig.offer("Kddd")
    rig.track.counted({"received": 1}, final=False)
    rig.track.detach()
    rig.offer("d")
    assert rig.dropped == {"session-lost": 3, "no-session": 1}
    assert rig.track.ledger.delivered == 1
    assert rig.track.ledger.in_flight == 0


def test_a_stopped_stream_ends_its_group() -> None:
    rig = Rig(stuck=True)
    rig.offer("Kd")
    rig.track.stopped(2)
    rig.offer("d")
    assert rig.dropped == {"stale-group": 3}
    rig.offer("K")
    assert len(rig.streams.all()) == 2


def test_units_lost_before_the_loop_are_counted_and_numbered() -> None:
    rig = Rig()
    rig.offer("K")
    rig.track.lose(3)
    rig.offer("dK")
    assert rig.dropped == {"queue": 4}
    assert rig.seqs() == [1, 6]


def test_finish_ends_the_open_group() -> None:
    rig = Rig()
    rig.offer("Kd")
    rig.track.finish()
    rig.track.finish()
    assert rig.streams.all()[0].ended
    rig.offer("dKd")
    assert rig.dropped == {"no-session": 3}
    rig.track.detach()
    rig.track.attach(line_to(rig.streams, rig.clock), -1)
    assert rig.keys == 1
    rig.offer("K")
    assert rig.seqs() == [1, 2, 6]


def test_rates_and_queue_are_shown() -> None:
    rig = Rig(stuck=True)
    rig.offer("Kddddddddd", size=1000, step_us=100_000)
    shown = rig.track.snapshot()
    assert shown["fps"] == pytest.approx(10.0)
    assert shown["bitrate_bps"] == pytest.approx(80_000)
    assert shown["queue_bytes"] > 5000
    assert shown["queue_objects"] >= 6


@given(st.integers(0, 2**32))
def test_the_identity_holds_whatever_happens(seed: int) -> None:
    """Any order of offers, acknowledgements, counts, resets and lost sessions."""
    chance = random.Random(seed)
    rig = Rig(JPEG if chance.random() < 0.3 else H264, stuck=True)
    for _ in range(120):
        what = chance.random()
        if what < 0.6:
            rig.offer("K" if chance.random() < 0.15 else "d", size=chance.choice((10, 5000)))
            rig.time.us += chance.choice((1_000, 33_000, 300_000))
        elif what < 0.75:
            rig.streams.acknowledge()
        elif what < 0.85:
            arrived = sum(s.reset_code is None for s in rig.streams.all())
            rig.track.counted({"received": arrived}, final=False)
        elif what < 0.9:
            rig.track.detach()
            rig.streams = FakeStreams(stuck=True)
            rig.track.attach(line_to(rig.streams, rig.clock), -1)
        else:
            rig.track.lose(chance.randrange(3))
        assert rig.track.ledger.balanced
        assert all(count >= 0 for count in rig.track.ledger.dropped.values())
    rig.track.detach()
    assert rig.track.ledger.in_flight == 0
    assert rig.track.ledger.balanced


OPUS = TrackSpec(3, "audio", Kind.AUDIO, "audio/opus;rate=48000;channels=1")


def test_half_a_second_of_sound_shares_a_stream_and_goes_first() -> None:
    rig = Rig(OPUS)
    rig.offer("K" * 120, step_us=10_000)
    first, second, third = rig.streams.all()
    assert [len(one.objects()) for one in (first, second, third)] == [50, 50, 20]
    assert (first.ended, second.ended, third.ended) == (True, True, False)
    assert {obj.group for obj in first.objects()} == {1}
    assert {obj.group for obj in third.objects()} == {3}
    assert all(obj.key for obj in rig.streams.objects())
    assert {one.rank for one in rig.streams.all()} == {URGENT}
    numbers = list(rig.streams.streams)
    stuck = Rig(stuck=True)
    stuck.offer("KdKd")
    assert [one.after for one in stuck.streams.all()] == [None, numbers[0]], "no group overtakes"
    pictures = Rig()
    pictures.offer("Kd")
    assert {one.rank for one in pictures.streams.all()} == {LIVE}


def test_stale_sound_goes_with_its_stream_and_the_newest_stays() -> None:
    rig = Rig(OPUS, stuck=True)
    rig.offer("K" * 30, step_us=10_000)
    rig.time.us += STALL_US
    rig.offer("KK")
    old, new = rig.streams.all()
    assert old.reset_code == DROPPED_GROUP
    assert [obj.seq for obj in new.objects()] == [31, 32]
    assert rig.dropped == {"stale-group": 30}
    assert rig.track.ledger.balanced


def test_shedding_drops_what_waits_and_asks_for_a_key() -> None:
    rig = Rig(stuck=True)
    rig.track.shed()
    assert rig.keys == 0, "nothing waits"
    rig.offer("Kddd")
    rig.track.shed()
    assert rig.keys == 1
    rig.offer("dKd")
    assert rig.dropped == {"stale-group": 5}
    assert [one.reset_code for one in rig.streams.all()] == [DROPPED_GROUP, None]
    assert rig.seqs()[-2:] == [6, 7]
    assert rig.track.ledger.balanced


def test_how_long_the_oldest_waits() -> None:
    rig = Rig(stuck=True)
    assert rig.track.oldest_us() is None
    began_us = rig.clock.now_us()
    rig.offer("Kd", step_us=10_000)
    assert rig.track.oldest_us() == began_us
    assert rig.track.backlog_bytes > 200
    rig.streams.acknowledge()
    assert rig.track.oldest_us() is None
