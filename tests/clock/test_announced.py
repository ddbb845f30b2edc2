"""What a publisher announces holds for all stamps until the next announcement."""

from __future__ import annotations

import pytest

from tests.clock.world import CASES, Case, World
from wtp.clock import Clock, ClockDomain
from wtp.model import Kind
from wtp.publisher.active import PING_S, QUICK_PING_S, QUICK_PINGS
from wtp.publisher.session import Conversation, TrackSpec
from wtp.wire import control

EXCHANGES = 150
LIVE_S = 0.5
"""How old a live object may be when the router converts its stamps."""


def pong(talk: Conversation, world: World) -> None:
    """One exchange with the router of the world."""
    talk.ping()
    sent = control.ControlParser().feed(talk.data_to_send().removeprefix(b"\x01"))
    (ping,) = (message for message in sent if isinstance(message, control.Ping))
    world.advance(world.way(world.case.there_us))
    at_us = world.peer_us()
    world.advance(world.way(world.case.back_us))
    assert list(talk.receive(control.encode(control.Pong(ping.t0_us, at_us, at_us)))) == []


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_announced_holds_until_the_next_announcement(case: Case) -> None:
    world = World(case, 7)
    talk = Conversation(
        "cam", "i", [TrackSpec(1, "video", Kind.VIDEO, "video/h264")],
        Clock(ClockDomain("here", 0), lambda: world.own_us), boot_id="here", adopt=True,
    )  # fmt: skip
    list(talk.receive(control.encode(control.Welcome("s", "there", 0))))
    looks = held = 0
    for number in range(EXCHANGES):
        pong(talk, world)
        pause_us = 1e6 * (QUICK_PING_S if number < QUICK_PINGS else PING_S)
        for _ in range(3):
            world.advance(pause_us / 3)
            assert talk.offset is not None
            for age_s in (0.0, LIVE_S):
                true_us = world.true_us - age_s * world.rate_ppm()
                held += abs(talk.offset.offset_us - true_us) <= talk.offset.error_us + 1
                looks += 1
    assert held / looks >= 0.99
    assert talk.resyncs == 0
