"""Joining a live track at its last key frame, read back from the topic.

One reader does it: it starts some way before the newest message, what it meets up to there is
sorted through, and it then simply goes on. So nothing is missed or repeated on the way over to
live. When a track of the newest stretch has no key frame there, a reader starts further back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from wtp.consumer.item import read_place, startable
from wtp.consumer.ports import Broker, Message, Subscription
from wtp.errors import BrokerError, WtpError

STEPS_BACK = (128, 640, 3200)
"""Messages to go back: two groups of the default length, several of several tracks, the longest."""

STEP_BACK_MS = 30_000
"""To go back by time once the beginning of the newest ledger holds no key frame."""

ALIVE_MS = 5_000
"""A track whose newest message is this much older than the topic's is over."""

SILENCE_S = 2.0
"""A reader that gets nothing for so long has caught up, whatever the newest position said."""

QUICK_S = 0.25
"""How long the admin API may take to tell the newest place before the client is asked."""
QUICK_SILENCE_S = 0.5
"""Nothing for so long behind a place that the admin API told: it speaks of another broker."""

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Payload bytes held while going back; above, the tracks that need most begin later."""


Entry = tuple[int, int]
"""Ledger and entry; the messages of one batch share them."""

Newest = Callable[[str], Awaitable[Entry]]
"""The admin API's `last_message_id`: the newest entry of a topic, negative without one."""


@dataclass(slots=True)
class Joined:
    """A reader that has joined.

    Attributes:
        reader: Goes on behind `first`.
        first: The messages to begin with, oldest first.
        last: The newest entry when joining; what lies behind it is live. None: everything is.
    """

    reader: Subscription
    first: list[Message] = field(default_factory=list)
    last: Entry | None = None


class Gathering:
    """What a look back has found: each track from its newest key frame on."""

    def __init__(self) -> None:
        self.held: OrderedDict[str, list[Message]] = OrderedDict()
        self.newest_ms: dict[str, int] = {}
        self.keyless: set[str] = set()
        self.seen = 0
        self.first_ms: int | None = None
        self.first_ledger = -1
        self._bytes = 0

    def add(self, message: Message) -> None:
        """Take the next message, in the topic's order."""
        self.seen += 1
        if self.first_ms is None:
            self.first_ms = message.publish_ms
            self.first_ledger = read_place(message.position)[0]
        track = message.key
        self.newest_ms[track] = message.publish_ms
        if startable(message):
            self._forget(track)
            self.keyless.discard(track)
            self.held[track] = []
        if track not in self.held:
            self.keyless.add(track)
            return
        self.held[track].append(message)
        self._bytes += len(message.payload)
        while self._bytes > MAX_HELD_BYTES and self.held:
            largest = max(self.held, key=lambda t: sum(len(m.payload) for m in self.held[t]))
            self._forget(largest)

    def _forget(self, track: str) -> None:
        self._bytes -= sum(len(message.payload) for message in self.held.pop(track, ()))

    def _alive(self, track: str) -> bool:
        return self.newest_ms[track] >= max(self.newest_ms.values()) - ALIVE_MS

    @property
    def complete(self) -> bool:
        """Whether every track that is still sent has its key frame."""
        return not any(self._alive(track) for track in self.keyless)

    def messages(self) -> list[Message]:
        """What to begin with: the tracks that are still sent, in the topic's order."""
        chosen = [m for track, held in self.held.items() if self._alive(track) for m in held]
        return sorted(chosen, key=lambda message: read_place(message.position))


async def join_live(
    client: Broker, topic: str, *, queue: int, quick: Newest | None = None
) -> Joined:
    """Join a topic of pictures live, beginning at the last key frame of each track.

    Args:
        client: The broker.
        topic: Full name of a topic or of one partition.
        queue: Messages the reader's own queue holds.
        quick: Tells the newest entry sooner than the client, which seeks for it and takes 0.1 s.

    Raises:
        BrokerError: The topic cannot be read.
    """
    told = await _told(topic, quick)
    if told is not None:
        joined = await _join_behind(client, topic, told, queue, QUICK_SILENCE_S)
        if joined is not None:
            return joined
    newest = await newest_entry(client, topic)
    if newest is None:
        return Joined(await client.reader(topic, start="latest", queue=queue))
    if newest == EMPTY:
        return Joined(await client.reader(topic, start="earliest", queue=queue))
    joined = await _join_behind(client, topic, newest, queue, SILENCE_S, certain=True)
    assert joined is not None  # noqa: S101 - a certain place is taken as it is
    return joined


async def _join_behind(
    client: Broker,
    topic: str,
    newest: Entry,
    queue: int,
    silence_s: float,
    *,
    certain: bool = False,
) -> Joined | None:
    """Go back from the newest entry.

    Args:
        client: The broker.
        topic: Full name.
        newest: Where to stop.
        queue: Messages the reader's own queue holds.
        silence_s: When nothing more is expected.
        certain: Whether the place is this broker's; else what is read has to confirm it.

    Returns:
        None when the place turned out to be none of this topic.
    """
    ledger, entry = newest
    for back in STEPS_BACK:
        start = max(0, entry - back)
        reader = await client.reader(topic, start=f"{ledger}:{start}", queue=queue)
        found = await _gather(reader, newest, silence_s=silence_s)
        if not certain and found.first_ledger != ledger:
            await reader.close()
            return None
        if found.complete or start == 0 or back == STEPS_BACK[-1]:
            break
        await reader.close()
    if start == 0 and not found.complete:
        found = await _gather_by_time(reader, newest, found)
    return Joined(reader, found.messages(), newest)


async def _told(topic: str, quick: Newest | None) -> Entry | None:
    """The newest entry by the admin API; None when it does not tell, or there is none."""
    if quick is None or topic.startswith("non-persistent://"):
        return None
    try:
        async with asyncio.timeout(QUICK_S):
            newest = await quick(topic)
    except (WtpError, TimeoutError):
        return None
    return newest if min(newest) >= 0 else None


EMPTY = (-1, -1)
"""Stands for the newest entry of an empty topic."""


async def newest_entry(client: Broker, topic: str) -> Entry | None:
    """The newest entry of a topic, `EMPTY` when there is none, None when it cannot be told."""
    if topic.startswith("non-persistent://"):
        return None
    position = await client.last_position(topic)
    return EMPTY if position is None else read_place(position)[:2]


async def _gather_by_time(reader: Subscription, newest: Entry, found: Gathering) -> Gathering:
    """Look into the ledgers before the newest one; without a key frame there, wait for one."""
    if found.first_ms is None:
        return found
    try:
        await reader.seek_ms(found.first_ms - STEP_BACK_MS)
    except BrokerError:
        return found
    return await _gather(reader, newest, sought=True)


async def _gather(
    reader: Subscription, newest: Entry, *, sought: bool = False, silence_s: float | None = None
) -> Gathering:
    """Read up to the newest place.

    Args:
        reader: Is not closed when this is cancelled; its owner does.
        newest: Where to stop, inclusive.
        sought: Whether the reader has just gone back: newer messages that it had already taken
            come again and are left out.
        silence_s: When nothing more is expected; `SILENCE_S` by default.
    """
    found = Gathering()
    patience_s = SILENCE_S if silence_s is None else silence_s
    while True:
        try:
            async with asyncio.timeout(patience_s):
                message = await reader.receive()
        except TimeoutError:
            return found
        entry = read_place(message.position)[:2]
        if sought and not found.seen and entry > newest:
            continue
        found.add(message)
        if entry >= newest:
            return found
