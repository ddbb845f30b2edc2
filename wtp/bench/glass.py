"""`wtp bench glass`: from the moment drawn into a picture to the decoded picture.

Publisher, router and broker run as the processes that users start; this process consumes, decodes
and reads the block code out of every picture, so nothing but the picture itself tells its age. The
baseline draws, encodes and decodes in the same way and has pulsar-client alone between.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

from wtp.bench.machine import spin_ms
from wtp.bench.path import LocalPath
from wtp.bench.voice import listen
from wtp.broker.connect import connect
from wtp.clock import Clock, monotonic_us
from wtp.config.schema import BrokerSettings, RoomSettings, Settings
from wtp.consumer.item import Item
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.errors import WtpError
from wtp.metrics import Latency
from wtp.model import Kind, Object, to_properties

Say = Callable[[str], None]

START_S, POLL_S = 30.0, 0.05
"""What the first picture may take on a busy machine, and how often it is looked for."""

DIRECT = "direct"
"""Name of the baseline's topic."""


class Eyes:
    """An output that decodes every picture and reads the time that was drawn into it.

    Attributes:
        latency: From drawn to decoded.
        unreadable: Pictures without a readable code.
        decoded: Pictures in all.
    """

    inline = False
    lossless = False
    idle_s = 0.0

    def __init__(self) -> None:
        self.latency = Latency()
        self.unreadable = self.decoded = 0
        self._decoder: Any = None

    def open(self) -> None:
        """Nothing to do."""

    def take(self, items: Sequence[Item]) -> list[str]:
        """Decode and measure."""
        return [self._look(item) for item in items]

    def _look(self, item: Item) -> str:
        from wtp.media.testsrc import read_code
        from wtp.media.video import VideoDecoder

        if self._decoder is None:
            self._decoder = VideoDecoder(item.content_type)
        for picture in self._decoder.decode(item.message.payload):
            self.decoded += 1
            drawn_us = read_code(picture.planes)
            if drawn_us is None or item.receive_us is None:
                self.unreadable += 1
            elif item.live:
                since_us = monotonic_us() - item.message.receive_monotonic_us
                self.latency.add(item.receive_us + since_us - drawn_us)
        return ""

    def reset(self) -> None:
        """Begin to count anew."""
        self.latency = Latency()
        self.unreadable = self.decoded = 0

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


async def run(config: dict[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """Measure.

    Args:
        config: From `latency.configuration`.
        say: Told in a sentence what is going on.

    Returns:
        `n`, `p50_ms` ... `max_ms` from drawn to decoded, `unreadable`, `decoded`, `dropped` of the
        consumer, `publish_cpu_percent` of a core (H.264 and Opus), `sound` (see `voice.listen`),
        `baseline` (pictures with pulsar-client alone between), `ratio_p50`.

    Raises:
        WtpError: A process failed, or nothing arrived.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    async with LocalPath(config["fsync"]) as path:
        await path.make_rooms()
        say("publisher, router and broker are starting")
        await path.start(
            "publish",
            ["--source", "testsrc", "--mic", "testsrc", "--name", "bench", *path.room_args],
            ["--size", config["size"], "--fps", str(config["fps"])],
            ["--codec", config["codec"], "--bitrate", config["bitrate"]],
            path.router_args,
        )
        say(f"measuring {config['duration_s']:g} s after {config['warmup_s']:g} s of warm-up")
        figures = await _watch(path, config, path.topic("video"))
        say("measuring the sound beside it")
        sound = await listen(path, config["warmup_s"], config["duration_s"])
        await path.processes["publish"].stop()
        say("measuring the same pictures through pulsar-client alone")
        baseline = await _baseline(path, config)
    spin_after = await asyncio.to_thread(spin_ms)
    ours, direct = figures["p50_ms"], baseline["p50_ms"]
    return {
        **figures,
        "from": "drawn",
        "to": "decoded",
        "sound": sound,
        "baseline": baseline,
        "ratio_p50": round(ours / direct, 3) if ours and direct else None,
        "spin_ms": [spin_before, spin_after],
        "configuration": config,
    }


async def _watch(path: LocalPath, config: dict[str, Any], topic: str) -> dict[str, Any]:
    """Consume a topic for the time of the configuration."""
    eyes = Eyes()
    request = Request(topic=topic, kind=Kind.VIDEO, wait=True)
    settings = Settings(broker=path.broker, rooms=RoomSettings(room=path.room))
    consumer = Consumer(settings, request, eyes)
    async with asyncio.TaskGroup() as group:
        group.create_task(consumer.run(lambda _: None))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                while not eyes.decoded:
                    await asyncio.sleep(POLL_S)
        await asyncio.sleep(config["warmup_s"])
        eyes.reset()
        before = path.cpu()
        await asyncio.sleep(config["duration_s"])
        after = path.cpu()
        consumer.stop()
    if not eyes.latency.n:
        raise WtpError("No picture with a readable time arrived.", hint="Try a larger --size.")
    used = after.get("publish", 0.0) - before.get("publish", 0.0)
    return {
        **eyes.latency.snapshot(),
        "decoded": eyes.decoded,
        "unreadable": eyes.unreadable,
        "dropped": consumer.snapshot()["dropped"],
        "publish_cpu_percent": round(used / config["duration_s"] * 100, 1),
    }


async def _baseline(path: LocalPath, config: dict[str, Any]) -> dict[str, Any]:
    topic = path.topic(DIRECT)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_draw, args=(path.broker, topic, config), daemon=True)
    process.start()
    try:
        figures = await _watch(path, config, topic)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
    del figures["publish_cpu_percent"]
    return figures


def _draw(broker: BrokerSettings, topic: str, config: dict[str, Any]) -> None:
    asyncio.run(_publish(broker, topic, config))


async def _publish(broker: BrokerSettings, topic: str, config: dict[str, Any]) -> None:
    """Draw, encode and hand to a producer, until killed."""
    from wtp.media.source import open_source
    from wtp.media.video import VideoEncoder
    from wtp.publisher.capture import Capture
    from wtp.publisher.live import Unit
    from wtp.publisher.pictures import parse_bitrate

    clock = Clock()
    width, _, height = config["size"].partition("x")
    source = open_source(
        "testsrc", size=(int(width), int(height)), fps=config["fps"], now_us=clock.now_us
    )
    encoder = VideoEncoder(
        config["codec"],
        source.width,
        source.height,
        source.fps,
        bitrate_bps=parse_bitrate(config["bitrate"]),
        now_us=clock.now_us,
    )
    producer = await connect(broker).producer(topic)
    sent = group = 0

    def deliver(units: Sequence[Unit], _lost: int) -> None:
        nonlocal sent, group
        for unit in units:
            sent += 1
            group += unit.key
            obj = Object(
                Kind.VIDEO,
                sent,
                group,
                unit.key,
                unit.payload,
                capture_us=unit.capture_us,
                content_type=encoder.content_type,
            )
            producer.send(
                unit.payload,
                properties=to_properties(obj, "", str(clock.domain), 0),
                key="bench",
                event_ms=0,
                seq=None,
                done=lambda _error: None,
            )

    await Capture(source, encoder, clock.now_us, deliver).run()
