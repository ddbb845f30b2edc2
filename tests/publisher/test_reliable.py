"""Reliable tracks: kept until receipted, in order, bounded, resumed at the right sequence."""

from __future__ import annotations

import asyncio

import pytest

from tests.publisher.fakes import FakeStreams, FakeTime, line_to
from wtp.errors import WireError
from wtp.model import Kind
from wtp.publisher.reliable import SEND_AHEAD_BYTES, ReliableTrack
from wtp.publisher.session import TrackSpec

SPEC = TrackSpec(1, "chat", Kind.CHAT, "text/plain;charset=utf-8")
DATA = TrackSpec(1, "data", Kind.DATA, "application/octet-stream")


class Rig:
    """A track with its doubles."""

    def __init__(self, spec: TrackSpec = SPEC, windows: dict[str, int] | None = None) -> None:
        self.time = FakeTime()
        self.clock = self.time.clock()
        self.track = ReliableTrack(spec, self.clock, **(windows or {}))
        self.streams = FakeStreams()

    def attach(self, last_seq: int = 0, *, stuck: bool = False) -> None:
        self.streams = FakeStreams(stuck=stuck)
        self.track.attach(line_to(self.streams, self.clock), last_seq)

    async def offer(self, *texts: str) -> None:
        for text in texts:
            await self.track.offer(text.encode(), {"author": "ann"})

    def sent(self) -> list[tuple[int, str]]:
        return [(obj.seq, obj.payload.decode()) for obj in self.streams.objects()]


async def test_objects_go_out_on_one_stream_and_are_settled_by_receipts() -> None:
    rig = Rig()
    rig.attach()
    await rig.offer("a", "b", "c")
    assert rig.sent() == [(1, "a"), (2, "b"), (3, "c")]
    assert len(rig.streams.all()) == 1
    assert rig.streams.objects()[0].attributes == {"author": "ann"}
    rig.track.receipt(2)
    assert rig.track.ledger.delivered == 2
    assert rig.track.pending == 1
    rig.track.receipt(3)
    await asyncio.wait_for(rig.track.receipted(), 1)
    assert rig.track.ledger.balanced


async def test_a_new_session_sends_what_has_no_receipt() -> None:
    rig = Rig()
    rig.attach()
    await rig.offer("a", "b", "c")
    rig.track.detach()
    await rig.offer("d")
    rig.attach(last_seq=2)
    assert rig.sent() == [(3, "c"), (4, "d")]
    assert rig.track.ledger.delivered == 2


async def test_objects_wait_for_the_first_session() -> None:
    rig = Rig()
    await rig.offer("a")
    assert rig.track.pending == 1
    rig.attach()
    assert rig.sent() == [(1, "a")]


async def test_numbers_stay_when_the_broker_forgot() -> None:
    rig = Rig()
    rig.attach()
    await rig.offer("a", "b")
    rig.track.receipt(1)
    rig.track.detach()
    rig.attach(last_seq=0)
    await rig.offer("c")
    assert rig.sent() == [(2, "b"), (3, "c")]


async def test_a_broker_that_has_what_was_never_sent_is_a_fault() -> None:
    rig = Rig()
    await rig.offer("a")
    with pytest.raises(WireError, match="receipt for 7"):
        rig.attach(last_seq=7)
    assert rig.track.ledger.delivered == 0


async def test_a_refused_object_is_dropped_and_leaves_no_gap() -> None:
    rig = Rig()
    rig.attach()
    await rig.offer("a", "b", "c")
    rig.track.receipt(1)
    rig.track.rejected(2, "too-large", "too large")
    assert rig.track.ledger.dropped == {"too-large": 1}
    assert rig.track.refused == 1
    with pytest.raises(WireError, match="Object 2 is refused"):
        rig.track.rejected(2, "too-large", "too large")
    rig.track.detach()
    rig.attach(last_seq=1)
    await rig.offer("d")
    assert rig.sent() == [(3, "c"), (4, "d")]
    rig.track.receipt(4)
    assert rig.track.ledger.delivered == 3
    assert rig.track.ledger.balanced
    await asyncio.wait_for(rig.track.receipted(), 1)


async def test_the_last_object_refused_ends_the_waiting() -> None:
    rig = Rig(windows={"window_objects": 1})
    rig.attach()
    await rig.offer("a")
    offering = asyncio.create_task(rig.offer("b"))
    await asyncio.sleep(0)
    rig.track.rejected(1, "not-allowed", "no")
    await asyncio.wait_for(offering, 1)
    rig.track.rejected(2, "not-allowed", "no")
    await asyncio.wait_for(rig.track.receipted(), 1)


@pytest.mark.parametrize("windows", [{"window_objects": 2}, {"window_bytes": 2}])
async def test_a_full_window_makes_the_input_wait(windows: dict[str, int]) -> None:
    rig = Rig(windows=windows)
    rig.attach()
    offering = asyncio.create_task(rig.offer("a", "b", "c"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert rig.track.pending == 2
    assert not offering.done()
    rig.track.receipt(1)
    await asyncio.wait_for(offering, 1)
    assert rig.sent()[-1] == (3, "c")


async def test_one_object_always_fits() -> None:
    rig = Rig(windows={"window_bytes": 1})
    rig.attach()
    await asyncio.wait_for(rig.offer("long"), 1)
    assert rig.track.pending == 1


async def test_bulk_waits_for_the_transport() -> None:
    rig = Rig(DATA)
    rig.attach(stuck=True)
    for _ in range(20):
        await rig.track.offer(bytes(64 * 1024), {})
    assert rig.track.sent * 64 * 1024 <= SEND_AHEAD_BYTES + 64 * 1024
    sent = rig.track.sent
    rig.streams.acknowledge()
    rig.track.receipt(1)
    assert rig.track.sent > sent


async def test_too_large_is_refused_and_counted() -> None:
    rig = Rig()
    rig.attach()
    assert not await rig.track.offer(bytes(16 * 1024 + 1), {})
    assert await rig.track.offer(bytes(16 * 1024), {})
    assert rig.track.ledger.dropped == {"too-large": 1}
    assert rig.sent()[0][0] == 1


async def test_finish_ends_the_stream_only_when_all_was_sent() -> None:
    rig = Rig()
    rig.attach()
    await rig.offer("a")
    rig.track.finish()
    assert rig.streams.all()[0].ended
    rig.track.finish()


async def test_no_stream_credit_waits() -> None:
    rig = Rig()
    rig.attach()
    rig.streams.no_credit = True
    await rig.offer("a")
    assert not rig.streams.all()
    rig.streams.no_credit = False
    rig.track.writable()
    assert rig.sent() == [(1, "a")]


async def test_close_says_what_was_lost() -> None:
    rig = Rig()
    rig.attach()
    await rig.offer("a")
    rig.track.detach()
    await rig.offer("b")
    rig.track.close()
    assert rig.track.ledger.dropped == {"session-lost": 1, "no-session": 1}
    assert rig.track.ledger.balanced
    assert rig.track.ledger.in_flight == 0


async def test_a_receipt_from_the_future_is_a_fault() -> None:
    rig = Rig()
    rig.attach()
    await rig.offer("a")
    with pytest.raises(WireError, match="receipt for 2"):
        rig.track.receipt(2)


async def test_stamps_follow_the_router() -> None:
    rig = Rig()
    rig.time.us = 5
    rig.streams = FakeStreams()
    rig.track.attach(line_to(rig.streams, rig.clock, shift_us=-3), 0)
    await rig.offer("a")
    obj = rig.streams.objects()[0]
    assert obj.capture_us == obj.send_us == rig.clock.now_us() - 3
    assert obj.encode_us is None
