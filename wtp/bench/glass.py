"""`wtp bench glass`: from the moment drawn into a picture to the decoded, or displayed, picture.

Publisher, router and broker run as the processes that users start; this process consumes, decodes
and reads the block code out of every picture, so nothing but the picture itself tells its age. With
a display, `wtp consume video --window` shows the pictures and another process grabs them from the
screen. The baseline draws, encodes, decodes and shows in the same way and has pulsar-client alone
between.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

from wtp.bench.glass_direct import draw, picture_size
from wtp.bench.glass_display import Display, some_display
from wtp.bench.glass_eye import Look, see
from wtp.bench.machine import spin_ms
from wtp.bench.path import LocalPath
from wtp.bench.voice import listen
from wtp.children import Child
from wtp.clock import monotonic_us
from wtp.config.schema import RoomSettings, Settings
from wtp.consumer.item import Item
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.errors import WtpError
from wtp.metrics import Latency, Timeline
from wtp.model import Kind

Say = Callable[[str], None]

START_S, POLL_S = 30.0, 0.05
"""What the first picture may take on a busy machine, and how often it is looked for."""

DIRECT = "direct"
"""Name of the baseline's topic."""

GRABBED = (
    "visible: in what the display's server shows; a monitor adds its refresh and its own delay",
    "a latency of the display is the most it can have been: it is less by up to sampling_ms",
)
FILMED = (
    "visible: in the camera's picture, which adds the camera's exposure and transfer",
    "a latency of the display is the most it can have been: it is less by up to sampling_ms",
)
"""Notes to figures of a display, and to those by a camera."""


class Eyes:
    """An output that decodes every picture and reads the time that was drawn into it.

    Attributes:
        latency: From drawn to decoded.
        unreadable: Pictures without a readable code.
        decoded: Pictures in all.
        anchor_us: Unix µs of the drawing clock at CLOCK_MONOTONIC 0; None while unknown.
    """

    inline = False
    lossless = False
    idle_s = 0.0

    def __init__(self) -> None:
        self.reset()
        self.anchor_us: int | None = None
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
                self.anchor_us = item.receive_us - item.message.receive_monotonic_us
                now_us = monotonic_us()
                took_us = self.anchor_us + now_us - drawn_us
                self.latency.add(took_us)
                self.timeline.add(now_us, took_us)
        return ""

    def reset(self) -> None:
        """Begin to count anew."""
        self.latency = Latency()
        self.timeline = Timeline(monotonic_us())
        self.unreadable = self.decoded = 0

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


async def run(config: dict[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """Measure.

    Args:
        config: From `latency.configuration`; `display` (show the pictures, too) and `camera` (id of
            one that is pointed at the display) when wanted.
        say: Told in a sentence what is going on.

    Returns:
        `n`, `p50_ms` ... `max_ms` from drawn to decoded, `unreadable`, `decoded`, `dropped` and
        `dropped_by_hop` of the consumer, `publish_cpu_percent` of a core (H.264 and Opus),
        `sound` (see `voice.listen`), `baseline` (pictures with pulsar-client alone between),
        `ratio_p50`. With a display the percentiles are those from drawn to visible, with
        `sampling_ms`, `grabbed`, `unreadable` and `confidence_percent` (see `glass_eye.see`); those
        to decoded are `drawn_to_decoded`.

    Raises:
        WtpError: A process failed, or nothing arrived or was seen.
    """
    spin_before = await asyncio.to_thread(spin_ms)
    async with contextlib.AsyncExitStack() as stack:
        display = None
        if config.get("display"):
            seen = bool(config.get("camera"))
            display = await stack.enter_async_context(
                some_display(picture_size(config), say, seen=seen)
            )
        path = await stack.enter_async_context(LocalPath(config["fsync"]))
        figures = await _through(path, config, display, say)
    spin_after = await asyncio.to_thread(spin_ms)
    ours, direct = figures["p50_ms"], figures["baseline"]["p50_ms"]
    more: dict[str, Any] = {}
    if display is not None:
        config = {**config, "shown_on": str(display)}
        more["notes"] = list(FILMED if config.get("camera") else GRABBED)
    return {
        **figures,
        "from": "drawn",
        "to": "decoded" if display is None else "visible",
        "clock_error_ms": 0.0,
        "ratio_p50": round(ours / direct, 3) if ours and direct else None,
        "spin_ms": [spin_before, spin_after],
        **more,
        "configuration": config,
    }


async def _through(
    path: LocalPath, config: dict[str, Any], display: Display | None, say: Say
) -> dict[str, Any]:
    """The pictures through this path, and through pulsar-client alone."""
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
    figures = await _look(path, config, path.topic("video"), display, say)
    say("measuring the sound beside it")
    figures["sound"] = await listen(path, config["warmup_s"], config["duration_s"])
    await path.processes["publish"].stop()
    say("measuring the same pictures through pulsar-client alone")
    figures["baseline"] = await _baseline(path, config, display, say)
    return figures


async def _look(
    path: LocalPath, config: dict[str, Any], topic: str, display: Display | None, say: Say
) -> dict[str, Any]:
    """Decode a topic's pictures; then show them, and look at the display."""
    figures, anchor_us = await _watch(path, config, topic)
    if display is None:
        return figures
    say("showing them in a window and looking at it")
    cpu = figures.pop("publish_cpu_percent")
    shown = await _show(path, config, topic, display, anchor_us)
    return {**shown, "drawn_to_decoded": figures, "publish_cpu_percent": cpu}


async def _show(
    path: LocalPath, config: dict[str, Any], topic: str, display: Display, anchor_us: int
) -> dict[str, Any]:
    """Start a viewer as users do, and look at what it shows."""
    words = ["consume", "video", "--window", "--topic", topic, *path.broker_args]
    look = Look(
        display.environment,
        picture_size(config),
        anchor_us,
        config["warmup_s"],
        config["duration_s"],
        config.get("camera") or "",
    )
    async with Child(words, name="viewer", env=display.environment) as viewer:
        async with asyncio.timeout(START_S):
            await asyncio.shield(viewer.ready)
        seeing = asyncio.create_task(see(look))
        ending = asyncio.create_task(viewer.wait())
        try:
            await asyncio.wait({seeing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not seeing.done():
                raise viewer.failure()
            return {**seeing.result(), **_dropped(await viewer.stop() or {})}
        finally:
            for task in (seeing, ending):
                task.cancel()
            await asyncio.gather(seeing, ending, return_exceptions=True)


def _dropped(consumer: dict[str, Any]) -> dict[str, Any]:
    """Drops of a consumer in all and by reason; None when it left no summary."""
    reasons = consumer.get("dropped")
    if reasons is None:
        return {"dropped": None}
    return {"dropped": sum(reasons.values()), "dropped_by_hop": {"consumer": dict(reasons)}}


async def _watch(path: LocalPath, config: dict[str, Any], topic: str) -> tuple[dict[str, Any], int]:
    """Consume a topic for the time of the configuration; its figures, and its clock's anchor."""
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
        gc.freeze()  # as a role does, see `wtp.cli.run`
        eyes.reset()
        before = path.cpu()
        await asyncio.sleep(config["duration_s"])
        after = path.cpu()
        gc.unfreeze()
        consumer.stop()
    if not eyes.latency.n or eyes.anchor_us is None:
        raise WtpError("No picture with a readable time arrived.", hint="Try a larger --size.")
    used = after.get("publish", 0.0) - before.get("publish", 0.0)
    figures = {
        **eyes.latency.snapshot(),
        "histogram": eyes.latency.encoded(),
        "timeline": eyes.timeline.snapshot(),
        "decoded": eyes.decoded,
        "unreadable": eyes.unreadable,
        **_dropped(consumer.snapshot()),
        "publish_cpu_percent": round(used / config["duration_s"] * 100, 1),
    }
    return figures, eyes.anchor_us


async def _baseline(
    path: LocalPath, config: dict[str, Any], display: Display | None, say: Say
) -> dict[str, Any]:
    topic = path.topic(DIRECT)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=draw, args=(path.broker, topic, config), daemon=True)
    process.start()
    try:
        figures = await _look(path, config, topic, display, say)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
    del figures["publish_cpu_percent"]
    return figures
