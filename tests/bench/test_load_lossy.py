"""The lossy network: its schedule, which is pure, and the link on loopback."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest

from wtp.bench.lossy import QUEUE, Conditions, Fates, Lane, LossyLink
from wtp.errors import UsageError

MANY = 20_000


def lost(fates: Fates, count: int = MANY) -> set[int]:
    return {number for number in range(count) if fates.next().lost}


def test_the_seed_settles_the_fate_of_each_datagram() -> None:
    bad = Conditions(0.05, delay_ms=10, jitter_ms=5, reorder=0.1)
    ours, again = Fates(bad, 7), Fates(bad, 7)
    assert [ours.next() for _ in range(500)] == [again.next() for _ in range(500)]
    assert lost(Fates(bad, 7)) != lost(Fates(bad, 8))
    assert lost(Fates(bad, 7, "there")) != lost(Fates(bad, 7, "back"))


def test_the_share_of_loss_is_kept_and_more_loss_loses_the_same_and_more() -> None:
    one, five = lost(Fates(Conditions(0.01), 1)), lost(Fates(Conditions(0.05), 1))
    assert len(one) / MANY == pytest.approx(0.01, abs=0.003)
    assert len(five) / MANY == pytest.approx(0.05, abs=0.006)
    assert one < five
    # Other conditions draw the same: delay and order change nothing about loss.
    assert lost(Fates(Conditions(0.05, 3, 4, 0.5), 1)) == five
    assert not lost(Fates(Conditions(), 1))


def test_delay_and_jitter_stay_within_their_bounds() -> None:
    fates = Fates(Conditions(delay_ms=20, jitter_ms=10), 3)
    delays = [fates.next().delay_us for _ in range(MANY)]
    assert min(delays) >= 20_000
    assert max(delays) <= 30_000
    assert sum(delays) / MANY == pytest.approx(25_000, rel=0.02)


def test_jitter_alone_keeps_the_order() -> None:
    lane = Lane(Fates(Conditions(delay_ms=5, jitter_ms=50), 1))
    sent = [bytes([number]) for number in range(200)]
    for number, data in enumerate(sent):
        lane.take(data, None, now_us=number * 100)
    assert [data for data, _ in lane.due(10**9)] == sent
    assert lane.next_us is None


def test_what_is_held_back_is_overtaken() -> None:
    lane = Lane(Fates(Conditions(reorder=0.2, hold_ms=1), 1))
    sent = list(range(200))
    for number in sent:
        lane.take(bytes([number]), None, now_us=number * 300)
    arrived = [data[0] for data, _ in lane.due(10**9)]
    assert sorted(arrived) == sent
    moved = [number for place, number in enumerate(arrived) if place > number]
    assert 0.1 * len(sent) < lane.counts["held"] < 0.3 * len(sent)
    assert len(moved) == pytest.approx(lane.counts["held"], abs=3)


def test_every_datagram_is_accounted_for_and_the_queue_is_bounded() -> None:
    lane = Lane(Fates(Conditions(loss=0.1, delay_ms=1000), 1))
    for number in range(QUEUE + 5000):
        lane.take(b"x", None, now_us=number)
    passed = len(lane.due(500_000))
    assert passed == 0
    assert lane.counts["queue"] > 0
    passed = len(lane.due(10**9))
    assert passed == QUEUE == lane.counts["passed"]
    assert lane.counts["offered"] == sum(lane.counts[why] for why in ("passed", "lost", "queue"))


@pytest.mark.parametrize(
    "values", [{"loss": 1.5}, {"loss": -0.1}, {"reorder": 2.0}, {"delay_ms": -1.0}]
)
def test_impossible_conditions_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Conditions(**values)


class Echo(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        self.transport.sendto(data, addr)


async def through(conditions: Conditions, seed: int) -> tuple[list[bytes], set[bytes]]:
    """Send 200 numbered datagrams to an echo through a link: what it heard, and what came back."""
    loop = asyncio.get_running_loop()
    transport, echo = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    back: set[bytes] = set()
    try:
        target = transport.get_extra_info("sockname")
        async with LossyLink(target, conditions, seed) as link, asyncio.timeout(60):
            for number in range(200):
                client.sendto(number.to_bytes(2, "big"), link.address)
                await asyncio.sleep(0)

            def settled() -> bool:
                there, home = link.counts["there"], link.counts["back"]
                return there["offered"] == 200 and home["offered"] == there["passed"]

            while not settled():
                await asyncio.sleep(0.005)
            expected = link.counts["back"]["offered"] - link.counts["back"]["lost"]
            while len(back) < expected:
                back.add(await loop.sock_recv(client, 100))
            for counts in link.counts.values():
                assert counts["offered"] == counts["passed"] + counts["lost"]
    finally:
        client.close()
        transport.close()
    return echo.heard, back


async def test_a_link_loses_as_its_seed_says() -> None:
    first, back = await through(Conditions(loss=0.2), 5)
    again, back_again = await through(Conditions(loss=0.2), 5)
    kept = [
        n.to_bytes(2, "big") for n in range(200) if n not in lost(Fates(Conditions(0.2), 5), 200)
    ]
    assert first == again == kept
    assert back == back_again
    assert back < set(first)
    whole, everything = await through(Conditions(), 5)
    assert len(whole) == len(everything) == 200
