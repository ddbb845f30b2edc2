"""Coordinated omission: what a stalled sender sends late counts from the time it was due."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

from wtp.bench import receipts, transport
from wtp.broker import load
from wtp.clock import monotonic_us
from wtp.metrics import Latency
from wtp.transport.session import Session

STALL_S = 0.3
LATE_US = 100_000


def told(late_us: list[int]) -> None:
    """One stall of 0.3 s at 100 objects a second: some 20 objects are late by more than 0.1 s."""
    assert max(late_us) >= STALL_S * 1e6 * 0.95
    assert sum(one > LATE_US for one in late_us) >= 15


async def test_receipts() -> None:
    class Stalling:
        """A sink whose third object waits; a receipt comes at once."""

        def __init__(self) -> None:
            self.latency = Latency()
            self.receipted = 0
            self.late_us: list[int] = []

        async def send(self, payload: bytes, due_us: int) -> None:
            self.receipted += 1
            if self.receipted == 3:
                await asyncio.sleep(STALL_S)
            self.late_us.append(monotonic_us() - due_us)
            self.latency.add(self.late_us[-1])

        async def settled(self) -> None:
            """Nothing waits."""

    sink = Stalling()
    figures = await receipts._paced(sink, b"", 100.0, 0.6)
    assert figures["n"] == 60
    assert figures["max_ms"] >= STALL_S * 950
    assert figures["p90_ms"] >= LATE_US / 1000
    told(sink.late_us)


def test_broker() -> None:
    late_us: list[int] = []

    class Stalling:
        def send_async(self, payload: bytes, receipt: object) -> None:
            if len(late_us) == 3:
                time.sleep(STALL_S)
            due_ns = load.STAMP.unpack_from(payload)[0]
            late_us.append((time.monotonic_ns() - due_ns) // 1000)

    paced = load.Load("", "", 100, 60, 100.0)
    load._paced(Stalling(), paced, lambda *_: None, time.monotonic_ns())
    assert len(late_us) == 60
    told(late_us)


async def test_transport() -> None:
    late_us: list[int] = []

    class Stalling:
        def open_stream(self) -> int:
            return 0

        def send(self, stream: int, data: bytes, end: bool) -> None:
            if len(late_us) == 3:
                time.sleep(STALL_S)
            due_ns = int.from_bytes(data[: transport._STAMP_BYTES], "big")
            late_us.append((time.monotonic_ns() - due_ns) // 1000)

        async def drained(self, *_: Any) -> None:
            """Nothing waits."""

    await transport._paced(cast(Session, Stalling()), b"", 1.0)
    assert len(late_us) == transport.RATE_HZ
    assert max(late_us) >= STALL_S * 1e6 * 0.95
    assert sum(one > LATE_US for one in late_us) >= 5
