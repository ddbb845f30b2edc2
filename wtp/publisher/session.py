"""The publisher's side of the control conversation, without I/O: messages in, messages out.

hello            ->
                 <-  welcome (the router's clock)
publish, ping... ->
                 <-  published / error, pong
offset           ->                                only with a clock of its own, known or not
(objects)        ->
                 <-  receipt, stats, drain
                 <-  keyframe                      somebody wants to join, or lost an object
                 <-  rejected                      an object the broker will never take
rejected         ->                                it was dropped here too
flush            ->
                 <-  flushed
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from wtp import __version__
from wtp.clock import Clock, ClockDomain, Offset, OffsetEstimator, Sleeps
from wtp.errors import WireError
from wtp.model import Kind
from wtp.wire import StreamType, control

BEHIND_US, AHEAD_US = 500_000, 1_250_000
"""Age of the stamps that an announced offset is for: live objects wait no longer, and the next one
comes with the second exchange after this at the latest."""
SPARE_US = 20
"""What is added to an announced error, so that not every exchange ends in an announcement."""
MAX_PINGS = 32
"""Clock exchanges under way."""


@dataclass(frozen=True, slots=True)
class TrackSpec:
    """What `publish` announces.

    Attributes:
        alias: The track's number in this session.
        name: Its own name, without room and publisher.
        kind: What it carries.
        content_type: How to decode it.
    """

    alias: int
    name: str
    kind: Kind
    content_type: str


class Conversation:
    """State of one session's control streams.

    Args:
        name: The publisher's name.
        instance: Tells this run from another of the same name.
        tracks: What will be published.
        clock: Own clock. When `adopt` is set and the router runs on the same machine start, its
            domain becomes the router's; otherwise stamps are shifted or an offset is announced.
        boot_id: Of this machine start.
        adopt: Whether the clock may still change its domain (nothing was stamped yet).
        sleeps: Tells a suspend of this machine, for tests.

    Attributes:
        welcome: The router's greeting, None before it.
        shift_us: What to add to own stamps on the wire; exact, and 0 unless the router was
            restarted with another anchor.
        offset: The announced offset; error 0 on the same machine start; None while unknown, also
            again after a clock was stepped or its machine suspended.
        round_trip_us: Of the last clock exchange.
    """

    def __init__(
        self,
        name: str,
        instance: str,
        tracks: Iterable[TrackSpec],
        clock: Clock,
        *,
        boot_id: str,
        adopt: bool,
        sleeps: Sleeps | None = None,
    ) -> None:
        self.welcome: control.Welcome | None = None
        self.shift_us = 0
        self.offset: Offset | None = None
        self.round_trip_us: int | None = None
        self._tracks = {track.alias: track for track in tracks}
        self._clock = clock
        self._boot_id = boot_id
        self._adopt = adopt
        self._sleeps = sleeps or Sleeps()
        self._estimator = OffsetEstimator()
        self._parser = control.ControlParser()
        self._pings: set[int] = set()
        self._out = [bytes([StreamType.CONTROL])]
        self._put(control.Hello(name, instance, __version__))

    @property
    def same_start(self) -> bool:
        """Whether the router's clock is ours, with error 0."""
        return self.welcome is not None and self._domain().same_start(self._boot_id)

    @property
    def resyncs(self) -> int:
        """How often the clocks had to be compared anew, because one had stepped or halted."""
        return self._estimator.resyncs

    def clock(self) -> dict[str, Any]:
        """The router's clock against ours, as plain values.

        Returns:
            `state` shared, measured or unknown; the rest as `OffsetEstimator.snapshot`, with
            offset, error and drift 0 when it is shared.
        """
        figures = self._estimator.snapshot(self._clock.now_us())
        if self.same_start:
            zero = dict.fromkeys(("offset_us", "error_us", "drift_ppm", "drift_error_ppm"), 0)
            return {**figures, **zero, "state": "shared"}
        return figures

    def data_to_send(self) -> bytes:
        """Bytes for our control stream since the last call."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes) -> Iterator[control.Message]:
        """Take bytes of the router's control stream (after its type byte).

        Yields:
            The messages the caller must act on: welcome, published, receipt, rejected, stats,
            flushed, keyframe, drain and error. Pings and pongs are dealt with here.

        Raises:
            WireError: The router breaks the wire format or the order of the conversation.
        """
        for message in self._parser.feed(data):
            if isinstance(message, control.Ping):
                now_us = self._clock.now_us()
                self._put(control.Pong(message.t0_us, now_us, now_us))
            elif isinstance(message, control.Pong):
                self._pong(message)
            else:
                self._check(message)
                if isinstance(message, control.Welcome):
                    self._welcomed(message)
                yield message

    def ping(self) -> None:
        """Ask the router for its time."""
        self.look()
        now_us = self._clock.now_us()
        self._pings.add(now_us)
        if len(self._pings) > MAX_PINGS:
            self._pings.remove(min(self._pings))
        self._put(control.Ping(now_us))

    def look(self) -> None:
        """Forget the offset, and say so, when this machine was suspended."""
        if not self.same_start and self._sleeps.again():
            self._estimator.forget(self._clock.now_us())
            self._agree()

    def publish(self, alias: int) -> None:
        """Announce a track, again after it was refused for a while."""
        track = self._tracks[alias]
        self._put(control.Publish(alias, track.name, track.kind.value, track.content_type))

    def confirm(self, message: control.Rejected) -> None:
        """Say that a refused object was dropped here too."""
        self._put(control.Rejected(message.alias, message.seq, message.code))

    def flush(self, sent: dict[int, int]) -> None:
        """Ask for `flushed`.

        Args:
            sent: Objects written to whole streams in this session, by alias.
        """
        self._put(control.Flush({str(alias): count for alias, count in sent.items()}))

    def _put(self, message: control.Message) -> None:
        self._out.append(control.encode(message))

    def _domain(self) -> ClockDomain:
        assert self.welcome is not None  # noqa: S101 - callers look first
        return ClockDomain(self.welcome.boot_id, self.welcome.anchor_us)

    def _check(self, message: control.Message) -> None:
        if isinstance(message, control.Error):
            return
        if (self.welcome is None) != isinstance(message, control.Welcome):
            word = type(message).__name__.lower()
            raise WireError(f"The router sent {word} out of turn.", code="control")
        alias = getattr(message, "alias", None)
        if alias is not None and alias not in self._tracks:
            raise WireError(f"The router speaks of the unknown track {alias}.", code="control")

    def _welcomed(self, message: control.Welcome) -> None:
        self.welcome = message
        if self.same_start:
            if self._adopt:
                self._clock.domain = self._domain()
            self.shift_us = message.anchor_us - self._clock.domain.anchor_us
            self._announce(Offset(0, 0))
        for alias in self._tracks:
            self.publish(alias)

    def _pong(self, message: control.Pong) -> None:
        now_us = self._clock.now_us()
        if message.t0_us not in self._pings:
            raise WireError("The router answers a ping that was never sent.", code="control")
        self._pings.discard(message.t0_us)
        self.round_trip_us = now_us - message.t0_us
        if not self.same_start:
            self.look()
            self._estimator.add(message.t0_us, message.t1_us, message.t2_us, now_us)
            self._agree()

    def _agree(self) -> None:
        """Announce the offset that stamps of about now need, or that there is none any more."""
        now_us = self._clock.now_us()
        bounds = self._estimator.between(now_us - BEHIND_US, now_us + AHEAD_US)
        if bounds is None:
            if self.offset is not None:
                self.offset = None
                self._put(control.Offset(0, control.UNKNOWN))
            return
        offset_us = sum(bounds) // 2
        error_us = bounds[1] - offset_us
        if self.offset is None or not _covers(self.offset, bounds, error_us):
            self._announce(Offset(offset_us, error_us + error_us // 8 + SPARE_US))

    def _announce(self, offset: Offset) -> None:
        self.offset = offset
        self._put(control.Offset(offset.offset_us, offset.error_us))


def _covers(known: Offset, bounds: tuple[int, int], error_us: int) -> bool:
    """Whether what was announced still holds, and is not much worse than what could be."""
    return (
        known.offset_us - known.error_us <= bounds[0]
        and bounds[1] <= known.offset_us + known.error_us
        and known.error_us <= error_us + error_us // 2 + 2 * SPARE_US
    )
