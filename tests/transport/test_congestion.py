"""What goes first when not everything fits, and how short the queue of the network stays."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.tls import Epoch

from wtp.transport.congestion import LEAST_PACKETS, Highest, Lowest, ShortQueue
from wtp.transport.session import BULK, LIVE, URGENT

from .conftest import ConnectCall, ServeCall
from .support import Recorder

MTU = 1200


def packet(number: int, sent_s: float, size: int = MTU) -> QuicSentPacket:
    return QuicSentPacket(
        epoch=Epoch.ONE_RTT, in_flight=True, is_ack_eliciting=True, is_crypto_packet=False,
        packet_number=number, packet_type=QuicPacketType.ONE_RTT, sent_bytes=size, sent_time=sent_s,
    )  # fmt: skip


class Flow:
    """A sender that always has something, on a line with a queue that never drops."""

    def __init__(self, rate_bps: float, base_s: float, *, demand_bps: float = 1e12) -> None:
        self.window = ShortQueue(max_datagram_size=MTU)
        self.window.yields = True
        self.rate_bps, self.base_s, self.demand_bps = rate_bps, base_s, demand_bps
        self.now = 0.0
        self.queue_s = 0.0
        self._free_s = 0.0
        self._flying: deque[tuple[float, QuicSentPacket]] = deque()
        self._number = 0
        self._sent = 0

    def run(self, seconds: float) -> None:
        end_s = self.now + seconds
        while self.now < end_s:
            self.now += 0.0005
            while self._flying and self._flying[0][0] <= self.now:
                at, one = self._flying.popleft()
                self.window.on_packet_acked(now=self.now, packet=one)
                self.window.on_rtt_measurement(now=self.now, rtt=at - (one.sent_time or 0.0))
            wanted = self.demand_bps * self.now / 8
            while (
                self.window.bytes_in_flight + MTU <= self.window.congestion_window
                and self._sent + MTU <= wanted
            ):
                self._send()

    def _send(self) -> None:
        self._number += 1
        self._sent += MTU
        one = packet(self._number, self.now)
        self.window.on_packet_sent(packet=one)
        self._free_s = max(self._free_s, self.now) + MTU * 8 / self.rate_bps
        self.queue_s = self._free_s - self.now
        self._flying.append((self._free_s + self.base_s, one))


@pytest.mark.parametrize("base_s", [0.002, 0.05])
@pytest.mark.parametrize("rate_bps", [1e6, 8e6])
def test_a_line_is_filled_and_its_queue_stays_short(rate_bps: float, base_s: float) -> None:
    flow = Flow(rate_bps, base_s)
    flow.run(4)
    delivered = flow.window.delivered_bytes
    flow.run(4)
    used = (flow.window.delivered_bytes - delivered) * 8 / 4 / rate_bps
    assert used > 0.85, "yielding to delay leaves hardly anything unused"
    least_s = LEAST_PACKETS * MTU * 8 / rate_bps
    assert flow.queue_s < 0.06 + least_s
    assert flow.window.cuts
    assert flow.window.base_rtt_s == pytest.approx(base_s + MTU * 8 / rate_bps, abs=0.005)


def test_a_line_that_becomes_narrow_has_a_short_queue_again_soon() -> None:
    flow = Flow(20e6, 0.005, demand_bps=2.5e6)
    flow.run(5)
    assert not flow.window.cuts
    assert flow.window.congestion_window < 200_000, "a window that is not used does not grow"
    flow.rate_bps = 1e6
    flow.run(0.6)
    assert flow.queue_s < 0.12
    assert flow.window.peak_rtt_s > flow.window.base_rtt_s


def test_a_transfer_by_itself_does_not_yield() -> None:
    flow = Flow(1e6, 0.005)
    flow.window.yields = False
    flow.run(2)
    assert not flow.window.cuts
    assert flow.queue_s > 0.1


def test_lowest_and_highest_forget_what_is_old() -> None:
    lowest, highest = Lowest(1.0), Highest(1.0)
    assert [lowest.add(t, v) for t, v in ((2.0, 5.0), (2.5, 3.0), (2.9, 9.0))] == [5.0, 3.0, 3.0]
    assert lowest.add(3.5, 8.0) == 3.0
    assert lowest.add(4.6, 8.0) == 8.0
    assert lowest.add(60.0, 70.0) == 70.0
    assert [highest.add(t, v) for t, v in ((2.0, 5.0), (2.5, 3.0))] == [5.0, 5.0]
    assert highest.add(60.0, 1.0) == 1.0


class Order(Recorder):
    """Remembers in which order streams got whole."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[int] = []

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        super().stream_data(stream, data, end)
        if end:
            self.order.append(stream)


async def test_what_is_urgent_goes_first_and_nothing_starves(
    start: ServeCall, dial: ConnectCall
) -> None:
    remote = Order()
    server = await start(remote)
    session = await dial(server, mtu=1300)
    bulk, live = session.open_stream(), session.open_stream(LIVE)
    session.send(bulk, bytes(300_000), end=True)
    session.send(live, bytes(300_000), end=True)
    sound = [session.open_stream(URGENT) for _ in range(5)]
    for stream in sound:
        session.send(stream, bytes(200), end=True)
    await remote.until(lambda: len(remote.ended) == 7, timeout=60)
    assert remote.order == [*sound, live, bulk]


async def test_the_lowest_rank_has_its_share(start: ServeCall, dial: ConnectCall) -> None:
    """Of sixteen full packets one belongs to each rank that waits."""
    remote = Recorder()
    server = await start(remote)
    session = await dial(server, mtu=1300)
    urgent, live, bulk = (session.open_stream(rank) for rank in (URGENT, LIVE, BULK))
    session.send(bulk, bytes(500_000), end=True)
    session.send(live, bytes(500_000), end=True)
    session.send(urgent, bytes(500_000), end=True)
    await remote.until(lambda: urgent in remote.ended, timeout=60)
    part = {stream: len(remote.streams.get(stream, b"")) / 500_000 for stream in (live, bulk)}
    assert 0.03 < part[live] < 0.3
    assert 0.03 < part[bulk] < 0.3
    await remote.until(lambda: len(remote.ended) == 3, timeout=60)
    await asyncio.wait_for(session.drained(), 60)
    assert session.stats.delivered_bytes > 1_500_000
    assert session.stats.base_rtt_ms > 0
