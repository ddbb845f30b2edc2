"""A process that publishes objects on schedule, or as fast as they are taken, on many sessions.

Each object carries the time it was due as its capture stamp, in the router's clock domain, and the
time it was handed to the transport as its send stamp. A generator that falls behind goes on with
what is due, so that its delay stands in the latency instead of hiding (coordinated omission).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from wtp.bench.worker import run_exact, serve
from wtp.clock import monotonic_us
from wtp.errors import ConnectionFailed, Refused, UsageError, WtpError
from wtp.model import Kind, Object
from wtp.transport.client import Trust, connect
from wtp.transport.lean import LeanSender
from wtp.transport.session import BULK, LIVE, Session
from wtp.wire import StreamType, control
from wtp.wire.objects import encode_head

MAX_BACKLOG_BYTES = 1024 * 1024
"""A session with more than this on its way to the router drops live objects, and counts them."""
FLAT_OUT_STREAMS = 48
"""Objects of a live track under way when sent flat out: one stream each, as publishers bound it."""
FLAT_OUT_BYTES = 256 * 1024
OBJECTS = bytes([StreamType.OBJECTS])
HANDSHAKES = 8
"""Handshakes under way at once."""
ANSWER_S = 20.0
FLUSH_S = 20.0


@dataclass(frozen=True)
class Load:
    """What one generator process sends in one round.

    Attributes:
        url: Of the router, room in its query.
        cert_hash: SHA-256 of its certificate, hex.
        tag: Names publishers and their instance; one for each round and process.
        sessions: Sessions, each with one track.
        kind: `video` sends each object as a group and stream of its own, as an all-intra camera
            does; `data` sends them on one reliable stream.
        size_bytes: Payload of an object.
        rate_hz: Objects a second of each session; 0 sends flat out.
        mtu: UDP payload size in bytes; 0 probes it.
        seed: Of the phases of the sessions' schedules.
        lean: Send live objects that fit into one packet by `wtp.transport.lean`: a third of the
            CPU time, and what is lost on the way stays lost.
    """

    url: str = ""
    cert_hash: str = ""
    tag: str = "bench"
    sessions: int = 1
    kind: str = "video"
    size_bytes: int = 2000
    rate_hz: float = 30.0
    mtu: int = 0
    seed: int = 1
    lean: bool = False


def check_size(kind: str, size_bytes: int) -> None:
    """Check that an object of this size can be sent.

    Raises:
        UsageError: It is too large for its kind.
    """
    most = Kind(kind).max_bytes
    if size_bytes > most:
        raise UsageError(
            f"A {kind} object of {size_bytes} bytes is over {most}.",
            hint=f"Give --size {most} or less.",
        )


class Sender:
    """One session with one track, a minimal publisher.

    Attributes:
        sent: Objects handed to the transport.
        dropped: Objects that were due and were not, because too much was under way.
        error: Why the session is of no use any more.
        router: The router's counts at the flush.
    """

    def __init__(self, load: Load, number: int) -> None:
        self.sent = 0
        self.dropped = 0
        self.error = ""
        self.router: dict[str, int] = {}
        self.published = asyncio.Event()
        self.flushed = asyncio.Event()
        self.session: Session | None = None
        self._load = load
        self._name = f"{load.tag}-{number}"
        self._kind = Kind(load.kind)
        self._payload = bytes(load.size_bytes)
        self._parser = control.ControlParser()
        self._first = True
        self._anchor_us = 0
        self._last_seq = 0
        self._control = -1
        self._lane = -1
        self._lean: LeanSender | None = None

    # SessionEvents

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        """Control messages of the router."""
        count, session = len(data), self.session
        if self._first and data:
            data, self._first = data[1:], False
        for message in self._parser.feed(data):
            self._told(message)
        if session is not None:
            session.release(stream, count)

    def stream_reset(self, stream: int, code: int) -> None:
        """The router resets no control stream."""

    def stream_stopped(self, stream: int, code: int) -> None:
        """The router refuses no stream of a track it took."""

    def datagram(self, data: bytes) -> None:
        """None are expected."""

    def writable(self) -> None:
        """The backlog is looked at before each send."""

    def closed(self, code: int, reason: str) -> None:
        """The session is over."""
        self._fail(reason or "the session ended")

    def _told(self, message: control.Message) -> None:
        if isinstance(message, control.Welcome):
            self._anchor_us = message.anchor_us
        elif isinstance(message, control.Published):
            self._last_seq = max(0, message.last_seq)
            self.published.set()
        elif isinstance(message, control.Flushed):
            self.router = message.tracks.get("1", {})
            self.flushed.set()
        elif isinstance(message, control.Error):
            self._fail(message.message)

    def _fail(self, why: str) -> None:
        self.error = self.error or why
        self.published.set()
        self.flushed.set()

    # What the generator does with it

    async def open(self) -> None:
        """Connect and announce the track.

        Raises:
            WtpError: No connection, or the router refuses.
        """
        load = self._load
        session = await connect(
            load.url, lambda _: self, Trust(cert_hash=load.cert_hash), mtu=load.mtu,
            timeout=ANSWER_S,
        )  # fmt: skip
        self.session = session
        try:
            self._announce(session)
            await _within(self.published, "publish")
        except ConnectionFailed as error:
            self._fail(error.message)  # what the router said before counts more
        if self.error:
            raise ConnectionFailed(
                f"The router refused the generator: {self.error.rstrip('.')}.",
                hint="See the router's log.",
            )

        if load.lean and not self._kind.reliable:
            self._lean = LeanSender(session)

    def _announce(self, session: Session) -> None:
        load = self._load
        self._control = session.open_stream()
        session.send(self._control, bytes([StreamType.CONTROL]))
        for message in (
            control.Hello(self._name, load.tag),
            control.Offset(0, 0),
            control.Publish(1, self._kind.value, self._kind.value, "application/octet-stream"),
        ):
            session.send(self._control, control.encode(message))

    def send(self, due_us: int) -> None:
        """Send the object that is due, or drop it; nothing when the session has ended."""
        session = self.session
        if session is None or self.error:
            self.dropped += 1
            return
        if not self._kind.reliable and session.backlog() > MAX_BACKLOG_BYTES:
            self.dropped += 1
            return
        seq = self._last_seq + self.sent + 1
        obj = Object(
            self._kind, seq, seq, True, self._payload,
            capture_us=self._anchor_us + due_us,
            send_us=self._anchor_us + monotonic_us(),
        )  # fmt: skip
        data = encode_head(1, obj) + self._payload
        try:
            if self._kind.reliable:
                self._send_on_lane(session, data)
            elif self._lean is None or not self._lean.send(OBJECTS + data):
                lane = session.open_stream(LIVE)
                session.send(lane, OBJECTS + data, end=True)
        except (ConnectionFailed, Refused):
            self.dropped += 1
        else:
            self.sent += 1

    def _send_on_lane(self, session: Session, data: bytes) -> None:
        if self._lane < 0:
            self._lane = session.open_stream(BULK)
            session.send(self._lane, OBJECTS)
        session.send(self._lane, data)

    async def flat_out(self, start_us: int, end_us: int) -> None:
        """Send as fast as the router takes it; an object is due when there is room for it."""
        await asyncio.sleep(max(0, start_us - monotonic_us()) / 1e6)
        bound = FLAT_OUT_BYTES
        if not self._kind.reliable:
            bound = min(bound, FLAT_OUT_STREAMS * self._load.size_bytes)
        session = self.session
        while session is not None and not self.error and monotonic_us() < end_us:
            room = bound - session.backlog()
            while room > 0:
                self.send(monotonic_us())
                room -= self._load.size_bytes
            await session.drained(bound // 2)

    async def flush(self) -> None:
        """Have the router confirm what arrived; a time-out leaves its counts unknown."""
        session = self.session
        if session is None or self.error:
            return
        flush = control.Flush({"1": self._last_seq + self.sent})
        session.send(self._control, control.encode(flush))
        await _within(self.flushed, "flush")

    async def close(self) -> None:
        """End the session."""
        if self.session is not None:
            self.session.close()
            await self.session.wait_closed()


async def _within(event: asyncio.Event, what: str) -> None:
    try:
        async with asyncio.timeout(ANSWER_S):
            await event.wait()
    except TimeoutError:
        raise ConnectionFailed(
            f"The router did not answer a {what} within {ANSWER_S:g} s.",
            hint="See the router's log.",
        ) from None


@dataclass
class Round:
    """One round of a generator process."""

    load: Load
    senders: list[Sender] = field(default_factory=list)
    late_us: int = 0
    """Longest distance between the time an object was due and the time it was handed over."""

    async def open(self) -> None:
        """Open all sessions, a few at a time."""
        gate = asyncio.Semaphore(HANDSHAKES)

        async def one(sender: Sender) -> None:
            async with gate:
                await sender.open()

        self.senders = [Sender(self.load, number) for number in range(self.load.sessions)]
        try:
            async with asyncio.TaskGroup() as tasks:
                for sender in self.senders:
                    tasks.create_task(one(sender))
        except* WtpError as errors:
            await self.close()
            raise errors.exceptions[0] from None

    async def send(self, start_us: int, end_us: int) -> dict[str, Any]:
        """Send what is due from `start_us` up to `end_us` (CLOCK_MONOTONIC), then flush.

        Returns:
            `offered`, `sent`, `dropped`, `arrived` (at the router, by its answer to the flush),
            `late_ms`, `cpu_s` of this process while sending, `packet_bytes`, `errors`.
        """
        cpu_s = time.process_time()
        if self.load.rate_hz:
            await self._paced(start_us, end_us)
        else:
            async with asyncio.TaskGroup() as tasks:
                for sender in self.senders:
                    tasks.create_task(sender.flat_out(start_us, end_us))
        cpu_s = time.process_time() - cpu_s
        await asyncio.gather(*(sender.flush() for sender in self.senders), return_exceptions=True)
        first = self.senders[0].session
        packet_bytes = first.stats.datagram_bytes if first is not None else None
        counts = self._counts()
        await self.close()
        return {**counts, "cpu_s": round(cpu_s, 3), "packet_bytes": packet_bytes}

    async def _paced(self, start_us: int, end_us: int) -> None:
        """Send on schedule; each session has a phase of its own, as cameras have."""
        period_us = 1e6 / self.load.rate_hz
        random_of = random.Random(self.load.seed)  # noqa: S311 - a schedule, no secret
        phases = sorted(random_of.random() * period_us for _ in self.senders)
        phases[0] = 0.0
        for turn in itertools.count():
            for phase_us, sender in zip(phases, self.senders, strict=True):
                due_us = start_us + int(turn * period_us + phase_us)
                if due_us >= end_us:
                    return
                # Without waiting the transport must have its turn as well.
                await asyncio.sleep(max(0, due_us - monotonic_us()) / 1e6)
                self.late_us = max(self.late_us, monotonic_us() - due_us)
                sender.send(due_us)

    def _counts(self) -> dict[str, Any]:
        sent = sum(sender.sent for sender in self.senders)
        dropped = sum(sender.dropped for sender in self.senders)
        return {
            "offered": sent + dropped,
            "sent": sent,
            "dropped": dropped,
            "arrived": sum(sender.router.get("received", 0) for sender in self.senders),
            "late_ms": round(self.late_us / 1000, 3),
            "errors": sorted({sender.error for sender in self.senders if sender.error}),
        }

    async def close(self) -> None:
        """End all sessions."""
        await asyncio.gather(*(sender.close() for sender in self.senders), return_exceptions=True)


def run_generator(pipe: Connection) -> None:
    """Main of a generator process: `open LOAD`, then `send START_US END_US`, as often as asked."""
    run_exact(_run(pipe))


async def _run(pipe: Connection) -> None:
    rounds: list[Round] = []

    async def answer(word: str, *args: Any) -> Any:
        if word == "open":
            rounds[:] = [Round(*args)]
            await rounds[0].open()
            return "open"
        return await rounds[0].send(*args)

    await serve(pipe, answer)
