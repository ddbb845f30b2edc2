"""Sizes of real video objects for a comparison: of a file, or of a topic that has some."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from wtp.bench.direct import read_back
from wtp.config.schema import BrokerSettings
from wtp.errors import MediaError, NotFound

OBJECTS = 3000
"""As many are looked at at most: 100 s at 30/s."""
LEAST_BYTES = 17
"""What a compared object begins with has this size."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is known of recorded objects.

    Attributes:
        name: Where they come from.
        sizes: In bytes, in their order.
        rate: Objects a second; 0 when it cannot be told.
    """

    name: str
    sizes: tuple[int, ...]
    rate: float


def recorded(place: str, broker: BrokerSettings) -> Recorded:
    """Look at a file's first video track, or at the first objects of a topic.

    Args:
        place: Path of a file, or a topic's full name (`persistent://...`).
        broker: Where the topic is.

    Raises:
        MediaError: The file cannot be read or has no video.
        NotFound: The topic does not exist or is empty.
    """
    if "://" in place:
        return _of_topic(place, broker)
    return _of_file(place)


def _of_topic(topic: str, broker: BrokerSettings) -> Recorded:
    objects = asyncio.run(read_back(broker, topic, OBJECTS))
    if not objects:
        raise NotFound(f"{topic} holds no object.", hint="Publish something into it first.")
    span_s = (objects[-1][0] - objects[0][0]) / 1e6
    rate = (len(objects) - 1) / span_s if span_s > 0 else 0.0
    return Recorded(topic, tuple(max(LEAST_BYTES, len(body)) for _, body in objects), rate)


def _of_file(path: str) -> Recorded:
    from wtp.media.container import open_container

    container = open_container(path, path, threading.Event())
    try:
        if not container.streams.video:
            raise MediaError(f"There is no video in {path}.", hint="Choose another file.")
        stream = container.streams.video[0]
        sizes: list[int] = []
        for unit in container.demux(stream):
            if unit.size:
                sizes.append(max(LEAST_BYTES, unit.size))
            if len(sizes) == OBJECTS:
                break
        rate = float(stream.average_rate or 0)
    finally:
        container.close()
    if not sizes:
        raise MediaError(f"There is no picture in {path}.", hint="Choose another file.")
    return Recorded(path, tuple(sizes), rate)
