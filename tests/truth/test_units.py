"""Every figure of a snapshot has the unit of its name: known values in, known figures out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from tests.consumer.fakes import DOMAIN, SETTINGS, item, message
from tests.router.fakes import FakeOwner, FakeProducer, Time, clock
from wtp.clock import monotonic_us
from wtp.config.schema import QueueSettings
from wtp.consumer.item import Seen, describe
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.metrics import Buckets, Latency, Timeline
from wtp.model import Kind, Object, Track
from wtp.router.routes import LiveRoute

COUNTS = frozenset(
    {"n", "objects", "past", "not_wtp", "damaged", "gaps", "late", "duplicates", "unknown"}
    | {"negative", "keys", "delivered", "in_flight", "filtered", "exchanges", "resyncs", "seq"}
    | {"group", "buckets", "offered", "misses", "rejected"}
)
"""Names that stand for how many of something, and so have no unit."""

SUFFIXES = ("_ms", "_us", "_s", "_bytes", "_ppm", "_per_s")
NAMED = {"bytes": "bytes", "size": "bytes", "rate": "bit/s", "fps": "objects/s", "share": "part"}
"""Names of long standing that carry no suffix, and what they are counted in."""


def numbers(values: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a snapshot with its path; yes and no are none."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield from numbers(value, f"{path}/{name}")
    elif isinstance(values, list | tuple):
        for value in values:
            yield from numbers(value, path)
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield path, values


def unit_of(path: str) -> str:
    """What a figure is counted in, out of its name; empty when that does not say."""
    name = path.rpartition("/")[2]
    if name in NAMED:
        return NAMED[name]
    if name in COUNTS or "/dropped/" in path:
        return "count"
    return next((suffix[1:] for suffix in SUFFIXES if name.endswith(suffix)), "")


STEP_US = 7_000
SIZE_BYTES = 1_000
COUNT = 100


def consumer() -> Consumer:
    """One that has had 100 objects of 1000 bytes in a second, 7 ms at each of nine hops."""
    names = ("capture_us", "encode_us", "send_us", "route_us", "process_us", "publish_us")
    role = Consumer(SETTINGS, Request(kind=Kind.VIDEO))
    end_us = monotonic_us() // 250_000 * 250_000
    for seq in range(1, COUNT + 1):
        at_us = end_us - (COUNT - seq + 1) * 10_000
        stamps = {name: at_us + place * STEP_US for place, name in enumerate(names)}
        received_us = at_us + len(names) * STEP_US
        made = message(
            seq, payload=bytes(SIZE_BYTES), stamps=stamps, at_us=received_us, clock_error_us=2_000
        )
        got = item(made, receive_us=DOMAIN.anchor_us + received_us)
        got = type(got)(**{**_fields(got), "clock_error_us": 2_000})
        role.stats.add(got)
        role.stats.took([got], received_us + STEP_US)
        shown = Seen(got, received_us + 2 * STEP_US, received_us + 3 * STEP_US)
        role.stats.saw([shown], received_us + STEP_US)
    return role


def _fields(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def test_every_number_of_a_consumer_says_what_it_counts() -> None:
    for path, value in numbers(consumer().snapshot()):
        assert unit_of(path), f"{path} = {value} has no unit"


def test_the_figures_of_a_consumer_are_in_the_units_of_their_names() -> None:
    figures = consumer().snapshot()
    latency = figures["latency"]
    hops = [*latency["hops"].values(), *figures["tracks"]["default/cam/video"]["hops"].values()]
    assert len(hops) == 18
    for hop in hops:
        assert hop["n"] == COUNT
        for name in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms", "mean_ms"):
            assert hop[name] == pytest.approx(7.0, rel=0.01), name
        assert hop["share"] == pytest.approx(1 / 9, abs=1e-3)
    assert latency["total"]["p50_ms"] == pytest.approx(42.0, rel=0.002)
    assert latency["send_to_receive"]["p50_ms"] == pytest.approx(28.0, rel=0.002)
    assert latency["capture_to_show"]["p99_ms"] == pytest.approx(63.0, rel=0.002)
    assert latency["last_ms"] == 42.0
    assert figures["clock_error_ms"] == 2.0
    assert figures["bytes"] == COUNT * SIZE_BYTES
    assert 30 < figures["fps"] <= 110
    assert figures["rate"] == pytest.approx(8 * SIZE_BYTES * figures["fps"])


def test_a_line_for_an_object_has_its_stamps_in_us() -> None:
    stamps = {"capture_us": 1_000, "process_us": 5_000}
    got = item(message(3, stamps=stamps), receive_us=DOMAIN.anchor_us + 9_000)
    values = describe(got)
    assert values["latency_us"] == 8_000
    assert values["process_us"] == DOMAIN.anchor_us + 5_000
    for name in values:
        assert not re.search(r"(latency|duration|error|stamp)$", name), f"{name} has no unit"


def test_the_receipts_of_a_route_are_in_ms() -> None:
    time = Time()
    route = LiveRoute(
        Track("room", "me", "cam"), Kind.VIDEO, "video/h264", "topic", clock(time), QueueSettings()
    )
    route.owner, producer = FakeOwner(), FakeProducer()
    route.attach(cast(Any, producer))
    for seq in range(20):
        route.offer(Object(Kind.VIDEO, seq, seq, True, b"x", capture_us=time.now))
        time.now += 3_000
        producer.receipt()
    figures = route.receipt.snapshot()
    assert (figures["n"], figures["mean_ms"], figures["max_ms"]) == (20, 3.0, 3.0)
    for name in ("p50_ms", "p90_ms", "p99_ms"):
        assert 2.0 < figures[name] <= 3.0, "within the bucket from 2 to 5 ms, and no more than seen"
    assert figures["buckets"][3] == 20
    for path, value in numbers(figures):
        assert unit_of(path), f"{path} = {value}"


def test_histograms_and_time_lines_are_in_the_units_of_their_names() -> None:
    latency, buckets, line = Latency(), Buckets(), Timeline(5_000_000)
    for value_us in (1_500, 1_500, 250_000):
        latency.add(value_us)
        buckets.add(value_us)
        line.add(5_000_000 + value_us, value_us)
    assert latency.snapshot()["p50_ms"] == pytest.approx(1.5, rel=1e-3)
    assert latency.mean_us == pytest.approx(84_333.3, rel=1e-5)
    assert latency.below([1_500.0, 249_000.0, 250_000.0]) == [2, 2, 3]
    assert buckets.snapshot()["mean_ms"] == pytest.approx(84.333)
    assert line.snapshot() == [{"t_s": 1, "n": 3, "p50_ms": 1.5, "p99_ms": 250.0, "max_ms": 250.0}]
