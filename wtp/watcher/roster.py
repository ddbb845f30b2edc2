"""Who is in the room: publishers and their tracks, as their objects come."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wtp.clock import monotonic_us
from wtp.config.schema import WatchSettings
from wtp.consumer.hops import Way, error_ms
from wtp.consumer.item import Item, split_track
from wtp.consumer.output import escape
from wtp.consumer.playout import Delay, Timeline
from wtp.consumer.sound import MakeDecoder, real_decoder
from wtp.consumer.voice import Sound, Voice
from wtp.errors import MediaError
from wtp.metrics import Ledger
from wtp.watcher.playout import Reel, Shot, SyncMeter

if TYPE_CHECKING:
    from wtp.media.sound import Samples

SILENT_US = 5_000_000
"""A track that is silent for so long leaves the grid."""

MAX_TRACKS = 32
"""Tracks at a time; more than fit a screen."""

SOUND_HZ, SOUND_CHANNELS = 48_000, 2
"""Of the one stream into which all publishers are mixed; other rates are resampled."""

SMOOTHING = 16
MAX_APART_US = 100_000
"""A sound that is further from where it should be is about to jump there: not worth following."""

LOGGER = logging.getLogger("wtp.watcher")


class Track:
    """What is known of one track.

    Attributes:
        name: `<room>/<publisher>/<name>`, or the name of a topic.
        seen_us: When its last object came, CLOCK_MONOTONIC.
        reel: Its pictures; None for sound.
        voice: Its sound; None for pictures, and when it cannot be decoded.
        refused: Why it cannot be decoded; empty when it can.
        size: Of its pictures, once one was decoded.
        buffered_us: How long its objects wait for their time, smoothed.
        live: Whether what is seen of it was published after joining.
        way: Where the time of its pictures goes, from capture to show.
    """

    def __init__(self, name: str, content_type: str) -> None:
        self.name, self.content_type = name, content_type
        self.run = ""
        self.seen_us = 0
        self.reel: Reel | None = None
        self.voice: Voice | None = None
        self.refused = ""
        self.size = (0, 0)
        self.buffered_us = 0
        self.live = False
        self.way = Way()

    @property
    def codec(self) -> str:
        """The name in its content type."""
        return self.content_type.partition("/")[2].partition(";")[0]


class Publisher:
    """One publisher: all its tracks share a timeline and a delay, so they are in step."""

    def __init__(self, name: str, settings: WatchSettings) -> None:
        self.name = name
        self.timeline = Timeline()
        self.delay = Delay(settings.delay, settings.max_delay_ms)
        self.sync = SyncMeter()
        self.tracks: dict[str, Track] = {}
        self.shown_delay_us: int | None = None
        self.warned = False

    def show_delay_us(self, now_us: int) -> int:
        """From capture to show of its pictures: that of its sound while there is some.

        Sound can follow a change of the delay by 1 % only, so pictures follow the sound.
        """
        target_us, heard_us = self.delay.target_us, self.heard_us(now_us)
        if heard_us is None:
            return target_us
        return max(target_us - MAX_APART_US, min(heard_us, target_us + MAX_APART_US))

    def heard_us(self, now_us: int) -> int | None:
        """From capture to hearing of its sound; None when there is none."""
        for track in self.tracks.values():
            if track.voice is not None:
                heard_us = track.voice.heard_delay_us(now_us)
                if heard_us is not None:
                    return heard_us
        return None


class Roster:
    """Takes objects of a room and holds them for screen and speaker.

    `offer` and `expire` are called on the loop, `mix` in the speaker's thread; the screen's thread
    holds `lock` while it looks at pictures.

    Args:
        settings: The delay.
        picture_cost_us: What showing a picture takes.
        sound_cost_us: What hearing takes; None when there is no sound.
        decoder: Makes the decoder of a content type, for tests.

    Attributes:
        ended: What became of objects of tracks that have left, and of those that were not taken.
        changed: Set when pictures came or tracks went.
    """

    def __init__(
        self,
        settings: WatchSettings,
        *,
        picture_cost_us: Callable[[], int],
        sound_cost_us: Callable[[], int | None],
        decoder: MakeDecoder = real_decoder,
    ) -> None:
        self.settings = settings
        self.publishers: dict[str, Publisher] = {}
        self.ended = Ledger()
        self.lock = threading.Lock()
        self._left = Way()
        self._picture_cost_us, self._sound_cost_us = picture_cost_us, sound_cost_us
        self._decoder = decoder
        self._voices: tuple[Voice, ...] = ()

    def offer(self, item: Item) -> str:
        """Take an object; returns why it was left out, "" when it was not."""
        content_type = item.content_type
        sound = content_type.startswith("audio/")
        if not sound and not content_type.startswith(("video/", "image/")):
            return "not-media"
        cost_us = self._sound_cost_us() if sound else self._picture_cost_us()
        if cost_us is None:
            return "no-speaker"
        owner, _ = split_track(item.source)
        owner = owner or item.source
        with self.lock:
            publisher = self.publishers.get(owner)
            if publisher is None:
                publisher = self.publishers[owner] = Publisher(owner, self.settings)
            track = publisher.tracks.get(item.source)
            if track is None:
                if sum(len(one.tracks) for one in self.publishers.values()) >= MAX_TRACKS:
                    return "too-many-tracks"
                track = publisher.tracks[item.source] = Track(item.source, "")
        capture_us = publisher.timeline.place(item)
        self._account(publisher, track, item, capture_us, cost_us)
        self._begin(publisher, track, item)
        return self._hold(track, item, capture_us, sound)

    def _account(
        self, publisher: Publisher, track: Track, item: Item, capture_us: int, cost_us: int
    ) -> None:
        """Let an arrival have its say in the delay."""
        arrival_us = track.seen_us = item.message.receive_monotonic_us
        if item.live or (item.obj is not None and item.obj.replayed):
            publisher.delay.arrived(capture_us, arrival_us, cost_us)
            waits_us = max(0, capture_us + publisher.delay.target_us - cost_us - arrival_us)
            track.buffered_us += (waits_us - track.buffered_us) // SMOOTHING

    def _begin(self, publisher: Publisher, track: Track, item: Item) -> None:
        """Make ready for another run or format of a track."""
        content_type = (item.obj.content_type if item.obj else "") or item.content_type
        if (item.instance, content_type) == (track.run, track.content_type):
            return
        track.run, track.content_type, track.refused = item.instance, content_type, ""
        if not item.content_type.startswith("audio/"):
            track.reel = track.reel or Reel()
            return
        self._end_voice(track)
        try:
            decoder = self._decoder(content_type)
        except MediaError as error:
            self.refuse(track, error)
            return
        track.voice = Voice(decoder, publisher.delay, rate_hz=SOUND_HZ, channels=SOUND_CHANNELS)
        self._voices = (*self._voices, track.voice)

    def refuse(self, track: Track, error: MediaError) -> None:
        """Say once that a track cannot be decoded; others go on."""
        track.refused = error.message
        LOGGER.warning("%s: %s %s", escape(track.name), error.message, error.hint)

    def _hold(self, track: Track, item: Item, capture_us: int, sound: bool) -> str:
        payload = item.message.payload
        if track.refused:
            return "cannot-decode"
        if track.voice is not None and sound:
            track.voice.put(Sound(item.obj.seq if item.obj else 0, capture_us, payload))
        elif track.reel is not None:
            seq = item.obj.seq if item.obj else None
            shot = Shot(
                capture_us, payload, track.content_type, seq, item.startable, item.instance,
                item.live, item.message.receive_monotonic_us,
            )  # fmt: skip
            with self.lock:
                track.reel.put(shot)
                if item.live:
                    track.way.add(item)
        return ""

    def mix(self, count: int, play_at_us: int) -> Samples | None:
        """The sound of everybody, `count` x 2; None for silence. For the speaker's thread."""
        import numpy as np

        parts = [voice.pull(count, play_at_us) for voice in self._voices]
        heard = [part for part in parts if part is not None]
        if len(heard) <= 1:
            return heard[0] if heard else None
        total = np.sum(heard, axis=0, dtype=np.int32)
        mixed: Samples = np.clip(total, -32768, 32767).astype(np.int16)
        return mixed

    def expire(self, now_us: int) -> None:
        """Let tracks leave that have been silent for long."""
        with self.lock:
            for publisher in list(self.publishers.values()):
                for track in list(publisher.tracks.values()):
                    if now_us - track.seen_us > SILENT_US:
                        self._leave(publisher, track)
                if not publisher.tracks:
                    del self.publishers[publisher.name]
                elif publisher.delay.too_short and not publisher.warned:
                    publisher.warned = True
                    self._warn(publisher)

    @staticmethod
    def _warn(publisher: Publisher) -> None:
        LOGGER.warning(
            "The delay of %d ms is too short for %s, which needs about %d ms: pictures come late"
            " and sound not at all. Leave --delay out.",
            publisher.delay.target_us // 1000,
            escape(publisher.name),
            publisher.delay.need_us // 1000,
        )

    def close(self) -> None:
        """Let everybody leave."""
        with self.lock:
            for publisher in self.publishers.values():
                for track in list(publisher.tracks.values()):
                    self._leave(publisher, track)

    def _leave(self, publisher: Publisher, track: Track) -> None:
        del publisher.tracks[track.name]
        self._end_voice(track)
        if track.reel is not None:
            self._left.merge(track.way)
            track.reel.clear("stopped")
            ledger = track.reel.ledger
            ledger.drop("stopped", ledger.in_flight)  # what the screen has taken and not shown
            self.ended.add(ledger)

    def _end_voice(self, track: Track) -> None:
        voice, track.voice = track.voice, None
        if voice is not None:
            self._voices = tuple(one for one in self._voices if one is not voice)
            voice.close()
            self.ended.add(voice.ledger)

    def ledger(self) -> Ledger:
        """What became of all objects that were taken."""
        total = Ledger()
        total.add(self.ended)
        for publisher in list(self.publishers.values()):
            for track in list(publisher.tracks.values()):
                for part in (track.reel, track.voice):
                    if part is not None:
                        total.add(part.ledger)
        return total

    def way(self) -> Way:
        """Where the time of all pictures goes."""
        way = Way()
        with self.lock:
            way.merge(self._left)
            for publisher in self.publishers.values():
                for track in publisher.tracks.values():
                    way.merge(track.way)
        return way

    def snapshot(self) -> list[dict[str, Any]]:
        """A row per publisher: its delay, lip sync and tracks; None where nothing is known."""
        now_us = monotonic_us()
        with self.lock:
            people = [
                (one, [(track, _hops(one, track)) for track in one.tracks.values()])
                for one in self.publishers.values()
            ]
        return [
            {
                "name": publisher.name,
                "delay_ms": round(publisher.delay.target_us / 1000, 1),
                "clock_known": publisher.timeline.known,
                "seen_ms": _ms(publisher.shown_delay_us),
                "heard_ms": _ms(publisher.heard_us(now_us)),
                "late": publisher.delay.late,
                "lip_sync_ms": publisher.sync.snapshot(),
                "tracks": {track.name: {**_track(track), **hops} for track, hops in tracks},
            }
            for publisher, tracks in people
        ]


def _hops(publisher: Publisher, track: Track) -> dict[str, Any]:
    if track.reel is None:
        return {}
    known = publisher.timeline.known
    return {
        "hops": track.way.snapshot(whole=known),
        "clock_error_ms": error_ms(track.way.clock_error_us, known=known),
    }


def _track(track: Track) -> dict[str, Any]:
    part = track.reel or track.voice
    out: dict[str, Any] = {
        "codec": track.codec,
        "buffer_ms": round(track.buffered_us / 1000, 1),
        "ledger": part.ledger.snapshot() if part else None,
        "refused": track.refused or None,
    }
    if track.voice is not None:
        out["starved"] = track.voice.starved
        out["jumps"] = track.voice.jumps
        out["concealed_ms"] = round(track.voice.concealed_us / 1000, 1)
    if track.reel is not None:
        out["size"] = list(track.size) if track.size[0] else None
    return out


def _ms(value_us: int | None) -> float | None:
    return None if value_us is None else round(value_us / 1000, 1)
