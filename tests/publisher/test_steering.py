"""How tracks of one session follow the network together."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tests.publisher.fakes import FakeStreams, FakeTime, line_to
from wtp.config.schema import PublishSettings
from wtp.media.source import open_source
from wtp.media.video import VideoEncoder
from wtp.model import Kind
from wtp.publisher import steering
from wtp.publisher.live import LiveTrack, Steering, Unit
from wtp.publisher.pictures import VideoFeed
from wtp.publisher.session import TrackSpec
from wtp.publisher.steering import Helm
from wtp.transport.session import Session, SessionStats

SPECS = {
    1: TrackSpec(1, "video", Kind.VIDEO, "video/h264"),
    2: TrackSpec(2, "screen", Kind.SCREEN, "video/h264"),
    3: TrackSpec(3, "audio", Kind.AUDIO, "audio/opus;rate=48000;channels=1"),
}


class Rig:
    """Two tracks that follow, sound that does not, and a session on a line that is stuck."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.clock = self.time.clock()
        self.told: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
        self.streams = FakeStreams(stuck=True)
        self.keys = 0
        self.tracks = {
            alias: LiveTrack(spec, self.clock, self._key) for alias, spec in SPECS.items()
        }
        for alias, ceiling in ((1, 2_000_000), (2, 1_000_000)):
            self.tracks[alias].steering = Steering(ceiling, 100_000, self._follower(alias))
        for track in self.tracks.values():
            track.attach(line_to(self.streams, self.clock), -1)
        self.helm = Helm(self.tracks.values(), self.clock)
        self.delivered = 0

    def _key(self) -> None:
        self.keys += 1

    def _follower(self, alias: int) -> Any:
        return lambda bps, nth: self.told[alias].append((bps, nth))

    def look(self, rtt_ms: float = 2.0, *, bytes_since: int = 6000) -> None:
        self.time.us += 50_000
        self.delivered += bytes_since
        self.helm.look(
            SessionStats(
                rtt_ms, 1.0, 0, 0, 0, 1200, 3, base_rtt_ms=2.0, peak_rtt_ms=rtt_ms,
                delivered_bytes=self.delivered,
            )
        )  # fmt: skip

    def sound(self, count: int) -> None:
        for _ in range(count):
            self.time.us += 10_000
            self.tracks[3].offer(Unit(bytes(160), True, 1, 1, 10_000))
            self.streams.acknowledge()


def test_while_nothing_is_late_nobody_is_told_to_change() -> None:
    rig = Rig()
    for _ in range(10):
        rig.look()
    assert rig.told == {1: [(2_000_000, 1)], 2: [(1_000_000, 1)]}
    assert rig.helm.snapshot() == {"send_delay_ms": 0.0}


def test_pictures_give_way_by_their_ceilings_and_sound_does_not() -> None:
    rig = Rig()
    rig.sound(100)
    for _ in range(6):
        rig.look()
    for _ in range(3):
        rig.look(rtt_ms=90.0)
    video, screen = rig.told[1][-1][0], rig.told[2][-1][0]
    assert video == pytest.approx(2 * screen, rel=0.01)
    assert 100_000 < screen < 400_000
    total = video + screen + 128_000
    assert total == pytest.approx(0.85 * 960_000, rel=0.1)
    assert rig.helm.snapshot()["send_delay_ms"] == 88.0
    shown = rig.tracks[1].snapshot()
    assert shown["target_bitrate_bps"] == video
    assert shown["limited_by"] == "delay"
    assert "limited_by" not in rig.tracks[3].snapshot()


def test_a_queue_that_is_hopeless_is_dropped_and_begins_with_a_key() -> None:
    rig = Rig()
    rig.look()
    rig.tracks[1].offer(Unit(bytes(90_000), True, 1, 1))
    for _ in range(12):
        rig.look(bytes_since=500)
    assert rig.keys == 1
    assert rig.tracks[1].ledger.dropped["stale-group"] == 1
    assert rig.tracks[1].ledger.balanced


async def test_without_tracks_that_follow_there_is_nothing_to_do() -> None:
    time = FakeTime()
    helm = Helm([LiveTrack(SPECS[3], time.clock(), lambda: None)], time.clock())
    await asyncio.wait_for(helm.steer(cast(Session, None)), 1)
    helm.look(SessionStats(1, 1, 0, 0, 0, 1200, 3))
    assert helm.snapshot() == {}


async def test_it_looks_as_long_as_the_session_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "LOOK_S", 0.001)
    rig = Rig()
    looks = asyncio.Event()

    class Here:
        @property
        def stats(self) -> SessionStats:
            looks.set()
            return SessionStats(1, 1, 0, 0, 0, 1200, 3)

    task = asyncio.create_task(rig.helm.steer(cast(Session, Here())))
    await asyncio.wait_for(looks.wait(), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def feed(**settings: Any) -> VideoFeed:
    clock = FakeTime().clock()
    source = open_source("testsrc", size=(64, 48), fps=30, now_us=clock.now_us)
    made = VideoFeed(source, 1, "video", Kind.VIDEO, PublishSettings(**settings), clock, 0)
    made.close()
    return made


def test_a_feed_follows_unless_it_is_told_not_to() -> None:
    made = feed(bitrate="2M", min_bitrate="200k")
    found = made.track.steering
    assert found is not None
    assert (found.ceiling_bps, found.floor_bps) == (2_000_000, 200_000)
    assert made.figures()["encoder"]
    assert feed(adapt=False).track.steering is None
    lower = feed(bitrate="100k", min_bitrate="200k").track.steering
    assert lower is not None
    assert lower.floor_bps == 100_000, "the floor is not above the ceiling"


async def test_the_encoder_is_told_its_part_in_its_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[int] = []
    monkeypatch.setattr(VideoEncoder, "rebitrate", lambda self, bps: told.append(bps))
    clock = FakeTime().clock()
    source = open_source("testsrc", size=(64, 48), fps=120, now_us=clock.now_us)
    made = VideoFeed(source, 1, "video", Kind.VIDEO, PublishSettings(), clock, 6)
    steered = made.track.steering
    assert steered is not None
    steered.follow(300_000, 3)
    await made.run()
    assert told == [100_000], "a third of the pictures, and a third of the rate"
    assert made.track.ledger.offered == 2


async def test_pictures_that_nobody_sizes_set_their_own_ceiling() -> None:
    made = feed(codec="jpeg", bitrate="10k", min_bitrate="10k")
    steered = made.track.steering
    assert steered is not None
    made.track.attach(line_to(FakeStreams(), made.track._clock), -1)
    made._deliver([Unit(bytes(10_000), True, 1, 1)], 0)
    time = cast(FakeTime, made.track._clock.monotonic)
    time.us += 33_000
    made._deliver([Unit(bytes(10_000), True, 1, 1)], 0)
    assert steered.ceiling_bps > 2_400_000
