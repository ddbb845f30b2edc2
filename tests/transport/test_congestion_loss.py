"""Loss without a queue leaves the window of live media alone; everything else cuts it."""

from __future__ import annotations

import random

import pytest

from wtp.transport.congestion import ACK_DELAY_MS, ShortQueue, announce_ack_delay
from wtp.transport.link import Link

from .conftest import ConnectCall, ServeCall
from .support import Recorder
from .test_congestion import MTU, packet

BURST = 15
"""Packets of one picture."""


def pictures(window: ShortQueue, loss: float, count: int = 150, rtt_s: float = 0.02) -> None:
    """Send pictures at 30/s; each packet is acknowledged, or found lost, one round trip later."""
    draw = random.Random(1).random
    number = 0
    for picture in range(count):
        sent_s = picture / 30
        burst = [packet(number + n, sent_s) for n in range(BURST)]
        number += BURST
        lost = [one for one in burst if draw() < loss]
        for one in burst:
            window.on_packet_sent(packet=one)
        for one in burst:
            if one not in lost:
                window.on_packet_acked(now=sent_s + rtt_s, packet=one)
        window.on_rtt_measurement(now=sent_s + rtt_s, rtt=rtt_s)
        if lost:
            window.on_packets_lost(now=sent_s + rtt_s, packets=lost)
    assert window.bytes_in_flight == 0


def live() -> ShortQueue:
    window = ShortQueue(max_datagram_size=MTU)
    window.yields = True
    return window


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
def test_a_picture_still_fits_into_the_window(loss: float) -> None:
    window = live()
    pictures(window, loss)
    assert window.congestion_window > BURST * MTU


def test_heavy_loss_is_congestion() -> None:
    window = live()
    pictures(window, 0.3)
    assert window.congestion_window < BURST * MTU / 2


@pytest.mark.parametrize(("loss", "kept"), [(0.01, True), (0.05, False)])
def test_a_transfer_bears_less(loss: float, kept: bool) -> None:
    window = ShortQueue(max_datagram_size=MTU)
    pictures(window, loss)
    assert (window.congestion_window > BURST * MTU) is kept


@pytest.mark.parametrize("yields", [True, False])
def test_loss_behind_a_queue_is_congestion_to_a_transfer(yields: bool) -> None:
    """Live media have another rule for queues, and busy machines look like short ones."""
    window = live()
    window.yields = yields
    pictures(window, 0.0)
    before = window.congestion_window
    for number in range(8):
        window.on_rtt_measurement(now=5.1 + number / 100, rtt=0.05)
    lost = packet(10_000, 5.15)
    window.on_packet_sent(packet=lost)
    window.on_packets_lost(now=5.2, packets=[lost])
    assert (window.congestion_window > before / 2) is yields


def test_the_announced_delay_of_acknowledgements() -> None:
    before, after = bytes.fromhex("040480100000"), bytes.fromhex("802ab60100")
    ours = announce_ack_delay(before + bytes([0x0B, 1, 25]) + after)
    assert ours == before + bytes([0x0B, 1, ACK_DELAY_MS]) + after


async def test_both_ends_hear_of_it(start: ServeCall, dial: ConnectCall) -> None:
    remote = Recorder()
    server = await start(remote)
    near = await dial(server)
    far = next(iter(server._sessions.values()))
    for session in (near, far):
        link = session._carrier
        assert isinstance(link, Link)
        assert link.quic._loss.max_ack_delay == ACK_DELAY_MS / 1000
