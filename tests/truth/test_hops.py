"""A known delay shows up in the hop where it was put in, and in no other.

Everything is compared with the same path without the delay, measured in the same seconds. What was
really waited is taken from the place that waited, so that a sleep that a busy machine made longer
is no error. A machine that stands still for a moment can still move a median: then both are
measured anew. A delay that is booked to a wrong hop stays wrong however often it is looked at.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.truth.whole import TRACK, Whole, whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DELAY_S = 0.06
"""Several times what all the hops together take."""

COUNT = 7
TRIES = 5

HOPS = {
    "encode": "capture->encode",
    "send": "encode->send",
    "network": "send->route",
    "processor": "route->process",
    "router": "process->publish",
    "broker": "publish->receive",
    "output": "receive->take",
    "decode": "take->decode",
    "show": "decode->show",
}
"""By where the delay is put in."""


class Look:
    """Medians of one look at the path, in ms.

    Attributes:
        hops: By name.
        total: From capture to show, as it is told.
        seen: The same, out of the pictures.
    """

    def __init__(self, path: Whole, snapshot: dict[str, Any]) -> None:
        track = snapshot["tracks"][TRACK]
        self.hops = {name: hop["p50_ms"] for name, hop in track["hops"].items()}
        self.total = snapshot["latency"]["capture_to_show"]["p50_ms"]
        self.seen = statistics.median(path.display.ages_us) / 1000
        self.shares = {name: hop["share"] for name, hop in track["hops"].items()}


async def look(path: Whole) -> Look:
    return Look(path, await path.measure(COUNT))


async def late(path: Whole, site: str) -> tuple[Look, float]:
    """A look with a delay, and what it really came to in ms."""
    delay = path.delays[site]
    delay.wanted_s = DELAY_S
    found = await look(path)
    delay.wanted_s = 0.0
    return found, statistics.median(delay.done_us) / 1000


def faults(site: str, before: Look, found: Look, waited: float) -> list[str]:
    """What is wrong about how a delay is told; empty when all is right."""
    wrong = []
    room = max(1.0, waited / 10)
    gains = {name: value - before.hops[name] for name, value in found.hops.items()}
    right = gains.pop(HOPS[site])
    if abs(right - waited) > room:
        wrong.append(f"{HOPS[site]} gained {right:.2f} ms of {waited:.2f}")
    wrong += [f"{n} gained {gain:.2f} ms" for n, gain in gains.items() if gain > waited / 3]
    if abs(found.seen - before.seen - waited) > 2 * room:
        wrong.append(f"the picture gained {found.seen - before.seen:.2f} ms")
    if abs(found.total - found.seen) > 1.0:
        wrong.append(f"told {found.total:.2f} ms, seen {found.seen:.2f}")
    if max(found.shares, key=lambda name: found.shares[name] or 0) != HOPS[site]:
        wrong.append(f"the largest share is not that of {HOPS[site]}: {found.shares}")
    return wrong


async def test_a_delay_is_found_where_it_is(tmp_path: Path) -> None:
    async with whole(tmp_path) as path:
        before = await look(path)
        assert list(before.hops) == list(HOPS.values())
        for site in HOPS:
            found, waited = await late(path, site)
            for _ in range(TRIES):
                if not (wrong := faults(site, before, found, waited)):
                    break
                before = await look(path)
                found, waited = await late(path, site)
            assert not wrong, f"{site}: {wrong}"


def test_a_delay_in_a_wrong_hop_is_noticed() -> None:
    hops = dict.fromkeys(HOPS.values(), 1.0)

    def told(**more: float) -> Look:
        made = Look.__new__(Look)
        made.hops = {**hops, **{HOPS[site]: value for site, value in more.items()}}
        made.total = made.seen = sum(made.hops.values())
        made.shares = {name: value / made.total for name, value in made.hops.items()}
        return made

    before = told()
    assert not faults("send", before, told(send=61.0), 60.0)
    assert len(faults("send", before, told(network=61.0), 60.0)) == 3
    assert len(faults("send", before, told(send=61.0, decode=30.0), 60.0)) == 2
    assert faults("send", before, told(send=50.0), 60.0)
    believed = told(send=61.0)
    believed.total -= 10
    assert faults("send", before, believed, 60.0) == ["told 59.00 ms, seen 69.00"]
