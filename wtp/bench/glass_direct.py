"""The baseline of `wtp bench glass`: the same pictures through pulsar-client alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Sequence
from typing import Any

from wtp.broker.connect import connect
from wtp.clock import Clock
from wtp.config.schema import BrokerSettings
from wtp.model import Kind, Object, to_properties


def picture_size(config: dict[str, Any]) -> tuple[int, int]:
    """Width and height of a configuration's pictures, in pixels."""
    width, _, height = config["size"].partition("x")
    return int(width), int(height)


def draw(broker: BrokerSettings, topic: str, config: dict[str, Any]) -> None:
    """Draw, encode and publish until killed; the body of a process.

    Args:
        broker: The broker.
        topic: Full name of the topic.
        config: From `latency.configuration`.
    """
    tie_to_parent()
    asyncio.run(_publish(broker, topic, config))


def tie_to_parent() -> None:
    """End this process of `multiprocessing` at once when the one that started it is gone."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


async def _publish(broker: BrokerSettings, topic: str, config: dict[str, Any]) -> None:
    """Draw, encode and hand to a producer, until killed."""
    from wtp.media.source import open_source
    from wtp.media.video import VideoEncoder
    from wtp.publisher.capture import Capture
    from wtp.publisher.live import Unit
    from wtp.publisher.pictures import parse_bitrate

    clock = Clock()
    source = open_source(
        "testsrc", size=picture_size(config), fps=config["fps"], now_us=clock.now_us
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
