"""Doubles for the transport tests: an application that records, and one that echoes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wtp.transport.session import Session


class Recorder:
    """Records what happens to one session; releases everything unless told not to."""

    def __init__(self, session: Session | None = None, *, release: bool = True) -> None:
        self.session = session
        self.releases = release
        self.streams: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.resets: list[tuple[int, int]] = []
        self.stops: list[tuple[int, int]] = []
        self.datagrams: list[bytes] = []
        self.closes: list[tuple[int, str]] = []
        self.writables = 0
        self._changed = asyncio.Event()

    def __call__(self, session: Session) -> Recorder:
        self.session = session
        return self

    @property
    def received_bytes(self) -> int:
        return sum(len(data) for data in self.streams.values())

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        self.streams.setdefault(stream, bytearray()).extend(data)
        if end:
            self.ended.add(stream)
        if self.releases and self.session is not None:
            self.session.release(stream, len(data))
        self._changed.set()

    def stream_reset(self, stream: int, code: int) -> None:
        self.resets.append((stream, code))
        self._changed.set()

    def stream_stopped(self, stream: int, code: int) -> None:
        self.stops.append((stream, code))
        self._changed.set()

    def datagram(self, data: bytes) -> None:
        self.datagrams.append(data)
        self._changed.set()

    def writable(self) -> None:
        self.writables += 1
        self._changed.set()

    def closed(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))
        self._changed.set()

    async def until(self, condition: Callable[[], object], timeout: float = 60.0) -> None:
        """Wait until the condition holds; checked whenever something happened."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def was_closed(self) -> tuple[int, str]:
        """Wait for the end and return its code and reason."""
        await self.until(lambda: self.closes)
        return self.closes[0]


class Echo(Recorder):
    """Sends every stream and datagram back."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[int, int] = {}

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        super().stream_data(stream, data, end)
        assert self.session is not None
        if stream not in self._answers:
            self._answers[stream] = self.session.open_stream()
        self.session.send(self._answers[stream], data, end)

    def datagram(self, data: bytes) -> None:
        super().datagram(data)
        assert self.session is not None
        self.session.send_datagram(data)


async def until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    """Wait for a condition that nothing announces."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)
