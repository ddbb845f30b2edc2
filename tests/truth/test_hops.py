"""A known delay shows up in the hop where it was put in, and in no other.

Everything is compared with the same path without the delay, measured in the same seconds, and what
was really waited is taken from the place that waited. Of the objects of a look the quickest counts,
at each hop: a busy machine makes some of them late at any hop, but the delay is in every one. Where
even so all were late, both are measured anew; a delay that is booked to a wrong hop stays wrong
however often it is looked at.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.truth.whole import Whole, whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DELAY_S = 0.06
"""Several times what all the hops together take."""

COUNT = 7
TRIES = 8

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
    """One look at the path; figures in ms, least values where nothing else is said.

    Attributes:
        hops: By name.
        middle: Medians by name.
        seen: From drawn to shown, out of the pictures.
        told: Median from capture to show, as statistics tell it.
        true: The same out of the pictures.
    """

    def __init__(self, path: Whole) -> None:
        hops = path.consumer.stats.hops
        self.hops = {name: (hop.least_us or 0) / 1000 for name, hop in hops.items()}
        self.middle = {name: hop.snapshot()["p50_ms"] for name, hop in hops.items()}
        ages_us = path.display.ages_us
        self.seen = min(ages_us) / 1000
        self.told = path.consumer.stats.snapshot(0)["latency"]["capture_to_show"]["p50_ms"]
        self.true = statistics.median_low(ages_us) / 1000


async def look(path: Whole) -> Look:
    await path.measure(COUNT)
    return Look(path)


async def late(path: Whole, site: str) -> tuple[Look, float]:
    """A look with a delay, and what it really came to in ms."""
    delay = path.delays[site]
    delay.wanted_s = DELAY_S
    found = await look(path)
    delay.wanted_s = 0.0
    return found, min(delay.done_us) / 1000


def faults(site: str, before: Look, found: Look, waited: float) -> list[str]:
    """What is wrong about how a delay is told; empty when all is right."""
    wrong = []
    room = max(1.0, waited / 10)
    gains = {name: value - before.hops[name] for name, value in found.hops.items()}
    right, seen = gains.pop(HOPS[site]), found.seen - before.seen
    if site == "output":  # objects that come in a burst wait for it together, all but one for less
        right = found.middle[HOPS[site]] - before.middle[HOPS[site]]
        seen = found.true - before.true
    if abs(right - waited) > room:
        wrong.append(f"{HOPS[site]} gained {right:.2f} ms of {waited:.2f}")
    wrong += [f"{n} gained {gain:.2f} ms" for n, gain in gains.items() if gain > waited / 3]
    if abs(seen - waited) > 2 * room:
        wrong.append(f"the picture gained {seen:.2f} ms")
    if abs(found.told - found.true) > 1.0 + found.true / 100:
        wrong.append(f"told {found.told:.2f} ms, the pictures say {found.true:.2f}")
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
        made.middle = made.hops
        made.told = made.true = made.seen = sum(made.hops.values())
        return made

    before = told()
    assert not faults("send", before, told(send=61.0), 60.0)
    assert len(faults("send", before, told(network=61.0), 60.0)) == 2
    assert len(faults("send", before, told(send=61.0, decode=30.0), 60.0)) == 2
    assert faults("send", before, told(send=50.0), 60.0)
    believed = told(send=61.0)
    believed.told -= 10
    assert faults("send", before, believed, 60.0) == ["told 59.00 ms, the pictures say 69.00"]
