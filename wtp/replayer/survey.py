"""What a topic holds: its first and newest message, and where a time begins."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from wtp.consumer.item import Place, read_place
from wtp.errors import BrokerUnavailable, WtpError
from wtp.replayer.ports import Broker, Message, Reader

ANSWER_S = 10.0
"""A message that the broker says is there has to come within this time."""

BATCH_S = 0.25
"""The rest of the newest batch comes in one frame; silence for so long is its end."""

EARLIER_MS = 5_000
"""How far before a capture time publish times are looked at: clocks and delays may differ so."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The ends of what a topic holds.

    Attributes:
        first: The oldest message that is kept.
        last: The newest one.
    """

    first: Message
    last: Message

    @property
    def start(self) -> Place:
        """Where it begins."""
        return read_place(self.first.position)

    @property
    def size_bytes(self) -> int:
        """The larger payload of the two."""
        return max(len(self.first.payload), len(self.last.payload))

    @property
    def end(self) -> Place:
        """Where it ends, inclusive."""
        return read_place(self.last.position)


async def survey(client: Broker, topic: str) -> Extent | None:
    """Look at both ends of a topic; None when it is empty.

    Raises:
        BrokerError: It cannot be read.
    """
    newest = await client.last_position(topic)
    if newest is None:
        return None
    first, last = await asyncio.gather(
        read_one(client, topic, "earliest"), read_last(client, topic, newest)
    )
    if first is None or last is None:
        return None
    return Extent(first, last)


async def open_reader(
    client: Broker, topic: str, *, start: str, queue: int, inclusive: bool = True
) -> Reader:
    """Open a reader, or, when cancelled, close it before the error goes on.

    A reader that nobody takes from would hold its client up for ever when that is closed.
    """
    opening = asyncio.create_task(
        client.reader(topic, start=start, inclusive=inclusive, queue=queue)
    )
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with contextlib.suppress(WtpError):
            await (await opening).close()
        raise


async def read_one(client: Broker, topic: str, start: str) -> Message | None:
    """The first message from a position on; None when nothing comes."""
    reader = await open_reader(client, topic, start=start, queue=1)
    try:
        return await _within(reader, ANSWER_S)
    finally:
        await reader.close()


async def read_last(client: Broker, topic: str, newest: str) -> Message | None:
    """The newest message: the last one of its entry when that is a batch."""
    reader = await open_reader(client, topic, start=newest, queue=10)
    entry = read_place(newest)[:2]
    try:
        found = last = await _within(reader, ANSWER_S)
        while found is not None and read_place(found.position)[2] >= 0:
            found = await _within(reader, BATCH_S)
            if found is None or read_place(found.position)[:2] > entry:
                break
            last = found
        return last
    finally:
        await reader.close()


async def _within(reader: Reader, seconds: float) -> Message | None:
    try:
        async with asyncio.timeout(seconds):
            message: Message = await reader.receive()
            return message
    except TimeoutError:
        return None


async def start_for(client: Broker, topic: str, extent: Extent, at_us: int) -> str:
    """The position to read from so as not to miss an object captured at a time or later.

    Args:
        client: The broker.
        topic: Full name of a topic or partition.
        extent: Its ends.
        at_us: The time, Unix µs.

    Returns:
        `earliest`, a position, or "" when everything it holds is older.
    """
    at_ms = at_us // 1000 - EARLIER_MS
    if at_ms <= extent.first.publish_ms:
        return "earliest"
    if at_ms > extent.last.publish_ms:
        return ""
    # A reader at the end has nothing to hand over from before the seek but newer messages.
    reader = await open_reader(client, topic, start="latest", queue=1)
    try:
        await reader.seek_ms(at_ms)
        while True:
            message = await _within(reader, ANSWER_S)
            if message is None:
                raise BrokerUnavailable(
                    f"{topic} did not answer a seek.", hint="Look at the broker's log; try again."
                )
            place = read_place(message.position)
            if place <= extent.end:
                return f"{place[0]}:{place[1]}"
    finally:
        await reader.close()
