"""One session with the router while it lasts: control messages to tracks and back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from wtp.clock import Clock
from wtp.errors import (
    BrokerError,
    BrokerUnavailable,
    ConnectionFailed,
    Refused,
    WireError,
    WtpError,
)
from wtp.publisher.live import LiveTrack
from wtp.publisher.outgoing import Line, Outgoing
from wtp.publisher.session import Conversation
from wtp.transport.session import CONTROL, Session
from wtp.wire import StreamType, control, stream_type

PING_S = 0.5
QUICK_PINGS = 5
QUICK_PING_S = 0.02
"""The first clock exchanges come fast, so that stamps of another machine are usable soon."""
LOOK_S = 0.1
"""How often this machine is asked whether it was suspended, when its clock is not the router's."""
UNANSWERED = 3
"""Pings without any answer after which the router counts as gone: QUIC itself waits 15 s."""
WELCOME_S = 5.0
"""How long the router may take to greet."""
REPUBLISH_S = 1.0

PASSING = frozenset({"broker-unavailable", "busy", "draining"})
"""Error codes of a track that may be gone a second later."""

_log = logging.getLogger(__name__)


def refusal(message: control.Error) -> WtpError:
    """The router's error as one of ours, with what to do next."""
    sentence, dot, hint = message.message.partition(". ")
    sentence += dot.strip()
    if message.code in ("name-taken", "track-taken") and "--name" not in hint:
        hint = "Choose another --name, or another --track."
    kind: type[WtpError] = Refused
    if message.code == BrokerUnavailable.code:
        kind = BrokerUnavailable
    elif message.code in ("not-found", BrokerError.code):
        kind = BrokerError
    return kind(sentence, hint=hint, code=message.code)


class Active:
    """Implements the transport's `SessionEvents` for one session.

    Args:
        conversation: The control conversation, not yet started.
        tracks: What is published, by alias.
        clock: Own clock.

    Attributes:
        over: Set when the session has ended.
        changed: Set whenever the router greeted, took a track or refused it, or the session ended.
        failure: What ends the publisher: a refusal that will not pass.
        reason: Why the session ended, for people.
        draining: The router is about to leave.
    """

    def __init__(
        self, conversation: Conversation, tracks: Mapping[int, Outgoing], clock: Clock
    ) -> None:
        self.conversation = conversation
        self.over = asyncio.Event()
        self.changed = asyncio.Event()
        self.failure: WtpError | None = None
        self.reason = ""
        self.draining = asyncio.Event()
        self.attached: set[int] = set()
        self.refused: dict[int, WtpError] = {}
        self.session: Session | None = None
        self._tracks = tracks
        self._clock = clock
        self._accepted: dict[int, int] = {}
        self._own: int | None = None
        self._theirs: int | None = None
        self._unanswered = 0
        self._flushed: asyncio.Future[bool] | None = None

    def start(self, session: Session) -> None:
        """Say hello on a session that was just opened."""
        self.session = session
        if not self.over.is_set():
            self._own = session.open_stream(CONTROL)
            self._write()

    # SessionEvents

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Bytes of the router's control stream; it opens no other."""
        if self.session is None:
            raise WireError("The router spoke before hello.", code="control")
        self.session.release(stream, len(data))
        if self._theirs is None and data:
            if stream_type(data[0]) is not StreamType.CONTROL:
                raise WireError("The router opened a stream that is not control.", code="control")
            self._theirs, data = stream, data[1:]
        if stream != self._theirs:
            self.session.stop(stream, 0)
            return
        self._unanswered = 0
        for message in self.conversation.receive(data):
            self._act(message)
        self._attach_accepted()
        self._write()
        if end:
            self.session.close(0, "the control stream ended")

    def stream_reset(self, stream: int, code: int) -> None:
        """Without the control stream there is no session."""
        if stream == self._theirs and self.session is not None:
            self.session.close(0, "the control stream was reset")

    def stream_stopped(self, stream: int, code: int) -> None:
        """The router wants no more of a stream."""
        stuck = [track.spec.name for track in self._tracks.values() if track.stopped(stream)]
        if stuck or stream == self._own:
            self.lose(f"the router stopped {stuck[0] if stuck else 'the control stream'}")

    def datagram(self, data: bytes) -> None:
        """The router sends none that would matter here."""

    def writable(self) -> None:
        """Go on sending what waits."""
        for alias in self.attached:
            self._tracks[alias].writable()

    def closed(self, code: int, reason: str) -> None:
        """The session is over, whatever ended it."""
        if self.over.is_set():
            return
        self.reason = self.reason or reason or f"code {code:#x}"
        if self.conversation.welcome is None and code and self.failure is None:
            self.failure = Refused(f"The router refused the session: {self.reason}")
        self.over.set()
        self.changed.set()
        if self._flushed is not None and not self._flushed.done():
            self._flushed.set_result(False)
        for alias in self.attached:
            self._tracks[alias].detach()
        self.attached.clear()

    # For the link

    async def watch(self) -> None:
        """Exchange pings until the session is over; end it when the router is silent."""
        loop = asyncio.get_running_loop()
        patience = loop.time() + WELCOME_S
        quick, resyncs = QUICK_PINGS, 0
        republish_at = loop.time() + REPUBLISH_S
        while not await self._pause(quick):
            conversation = self.conversation
            if conversation.welcome is None:
                if loop.time() > patience:
                    self.lose("the router does not greet")
                continue
            if conversation.resyncs != resyncs:
                resyncs, quick = conversation.resyncs, QUICK_PINGS
            self.writable()  # a receipt that overtakes its acknowledgement leaves no other event
            conversation.ping()
            self._unanswered += not quick
            quick = max(0, quick - 1)
            if loop.time() > republish_at:
                republish_at = loop.time() + REPUBLISH_S
                self._republish()
            self._write()
            if self._unanswered > UNANSWERED + 2 * self.round_trip_ms / (1000 * PING_S):
                self.lose("the router is silent")

    async def flush(self, timeout_s: float) -> bool:
        """End all streams and wait until the router has handed on what was sent.

        Returns:
            Whether it said so in time; at once False when the session ends before.
        """
        session = self.session
        if session is None or self.over.is_set() or not self.attached:
            return False
        tracks = {alias: self._tracks[alias] for alias in self.attached}
        if self._flushed is None or self._flushed.done():
            self._flushed = asyncio.get_running_loop().create_future()
        flushed = self._flushed
        try:
            for track in tracks.values():
                track.finish()
            async with asyncio.timeout(timeout_s):
                await session.drained(0)
                self.conversation.flush({alias: track.sent for alias, track in tracks.items()})
                self._write()
                return await asyncio.shield(flushed)
        except (TimeoutError, ConnectionFailed):
            return False

    def lose(self, reason: str) -> None:
        """Give the session up."""
        if self.over.is_set():
            return
        self.reason = reason
        if self.session is not None:
            self.session.close(0, reason)
        self.closed(0, reason)

    @property
    def round_trip_ms(self) -> float:
        """Smoothed round trip, 0 while unknown."""
        return self.session.stats.rtt_ms if self.session is not None else 0.0

    async def _pause(self, quick: int) -> bool:
        """Wait until the next ping is due, or the clocks must be compared anew.

        Returns:
            Whether the session is over.
        """
        if quick:
            return await self._over_within(QUICK_PING_S)
        conversation = self.conversation
        resyncs, slices = conversation.resyncs, 1
        if conversation.welcome is not None and not conversation.same_start:
            slices = round(PING_S / LOOK_S)
        for _ in range(slices):
            if await self._over_within(PING_S / slices):
                return True
            if slices > 1:
                conversation.look()
                if conversation.resyncs != resyncs:
                    break
        return False

    async def _over_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            return False
        return True

    def _act(self, message: control.Message) -> None:
        match message:
            case control.Published():
                self._accepted[message.alias] = message.last_seq
                self.refused.pop(message.alias, None)
            case control.Receipt() if message.alias in self.attached:
                self._tracks[message.alias].receipt(message.up_to_seq)
            case control.Rejected() if message.alias in self.attached:
                track = self._tracks[message.alias]
                track.rejected(message.seq, message.code, message.message)
                self.conversation.confirm(message)
            case control.Stats():
                self._count(message.tracks, final=False)
            case control.Flushed():
                self._count(message.tracks, final=True)
                if self._flushed is not None and not self._flushed.done():
                    self._flushed.set_result(True)
            case control.Keyframe() if message.alias in self.attached:
                track = self._tracks[message.alias]
                if isinstance(track, LiveTrack):
                    track.ask_key()
            case control.Drain():
                _log.info("The router is leaving: %s.", message.reason or "no reason given")
                self.draining.set()
            case control.Welcome():
                self.changed.set()
            case control.Error():
                self._refuse(message)
            case _:
                pass

    def _refuse(self, message: control.Error) -> None:
        error = refusal(message)
        if message.alias in self._tracks:
            self.refused[message.alias] = error
        if message.code not in PASSING:
            self.failure = self.failure or error
        self.changed.set()

    def _republish(self) -> None:
        for alias, error in list(self.refused.items()):
            if error.code in PASSING:
                del self.refused[alias]
                self.conversation.publish(alias)

    def _count(self, tracks: Mapping[str, Mapping[str, int]], *, final: bool) -> None:
        for text, counts in tracks.items():
            alias = int(text) if text.isascii() and text.isdecimal() else -1
            if alias in self.attached:
                self._tracks[alias].counted(counts, final=final)

    def _attach_accepted(self) -> None:
        """Let tracks send, once they are taken and the clock is agreed."""
        if not self._accepted or self.conversation.offset is None or self.session is None:
            return
        line = Line(self.session, self._clock, self.conversation.shift_us, self.round_trip_ms)
        accepted, self._accepted = self._accepted, {}
        self._write()
        for alias, last_seq in accepted.items():
            if alias not in self.attached:
                self.attached.add(alias)
                self._attach(alias, line, last_seq)
        self.changed.set()

    def _attach(self, alias: int, line: Line, last_seq: int) -> None:
        track = self._tracks[alias]
        try:
            track.attach(line, last_seq)
        except WireError as error:
            self.failure = self.failure or Refused(
                f"The broker has more of {track.spec.name} than this run has sent: {error}",
                hint="Start again: every run counts for itself.",
                code="sequence",
            )
            self.lose("sequences do not fit")

    def _write(self) -> None:
        data = self.conversation.data_to_send()
        if data and self.session is not None and self._own is not None and not self.over.is_set():
            self.session.send(self._own, data)
