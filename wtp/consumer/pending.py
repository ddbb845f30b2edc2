"""What waits between the broker and a slow output: bounded, with a policy for each need.

Live: a full queue gives up its oldest group, as far as the next object that can be decoded, so that
what remains is newer and decodes. Otherwise whoever fills it waits, and the broker keeps the rest.

What leads from a key frame to the present is no use in part: it is held whole, however many objects
it is. When much of it is left and a newer key frame of its track is there, it goes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from wtp.consumer.item import Item

MAX_ITEMS = 120
"""Four seconds of video at 30 a second; two groups of the default length."""

FEW = 60
"""Objects that lead to the present and are quicker decoded than worth dropping: a default group."""

MAX_BYTES = 64 * 1024 * 1024

LOSSLESS_BYTES = 8 * 1024 * 1024
"""What waits where nothing is dropped: a slow output gains nothing by more, the broker has it."""


class Pending:
    """A bounded queue of items; one reader, any writers, all on one loop.

    Args:
        live: Whether it drops when full (else writers wait).
        max_items: Items that wait at most.
        max_bytes: Their payloads' bytes at most; a single larger one still passes. None takes
            `MAX_BYTES` when live and `LOSSLESS_BYTES` otherwise.
    """

    def __init__(
        self, *, live: bool, max_items: int = MAX_ITEMS, max_bytes: int | None = None
    ) -> None:
        self.live = live
        if max_bytes is None:
            max_bytes = MAX_BYTES if live else LOSSLESS_BYTES
        self._max_items, self._max_bytes = max_items, max_bytes
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._catching_up = 0
        self._broken: set[str] = set()
        self._closed = False
        self._arrived = asyncio.Event()
        self._left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def _over(self, more_bytes: int) -> bool:
        full = len(self._items) - self._catching_up >= self._max_items
        return bool(self._items) and (full or self._bytes + more_bytes > self._max_bytes)

    async def put(self, item: Item) -> list[Item]:
        """Add an item.

        Returns:
            The items that were dropped for it, itself included when it is one.
        """
        drops = self.live and not item.catching_up
        while not drops and not self._closed and self._over(item.size_bytes):
            self._left.clear()
            await self._left.wait()
        dropped: list[Item] = []
        if drops and self._catching_up and item.startable:
            dropped += self._overtaken(item.track)
        while drops and self._over(item.size_bytes):
            dropped += self._give_up()
        if item.track in self._broken:
            if not item.startable:
                return [*dropped, item]
            self._broken.discard(item.track)
        self._items.append(item)
        self._bytes += item.size_bytes
        self._catching_up += item.catching_up
        self._arrived.set()
        return dropped

    def _overtaken(self, track: str) -> list[Item]:
        """Take out all of a track that is far from caught up: a newer key frame is there."""
        if sum(item.catching_up and item.track == track for item in self._items) <= FEW:
            return []
        dropped = [item for item in self._items if item.track == track]
        self._items = deque(item for item in self._items if item.track != track)
        self._forget(dropped)
        return dropped

    def _forget(self, items: Sequence[Item]) -> None:
        self._bytes -= sum(item.size_bytes for item in items)
        self._catching_up -= sum(item.catching_up for item in items)

    def _give_up(self) -> list[Item]:
        """Take out the oldest item and those of its track that need it."""
        track = self._items[0].track
        dropped, kept = [self._items.popleft()], deque[Item]()
        whole = False
        while self._items:
            item = self._items.popleft()
            whole = whole or (item.track == track and item.startable)
            (kept if whole or item.track != track else dropped).append(item)
        self._items = kept
        self._forget(dropped)
        if not whole:
            self._broken.add(track)
        return dropped

    async def take(self, at_most: int, most_bytes: int | None = None) -> list[Item]:
        """Wait for items; an empty list means that it was closed and nothing is left.

        Args:
            at_most: Items.
            most_bytes: Their payloads' bytes; a single larger one is taken. None for no bound.
        """
        while not self._items:
            if self._closed:
                return []
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._items.popleft()]
        size_bytes = taken[0].size_bytes
        while self._items and len(taken) < at_most:
            size_bytes += self._items[0].size_bytes
            if most_bytes is not None and size_bytes > most_bytes:
                break
            taken.append(self._items.popleft())
        self._forget(taken)
        self._left.set()
        return taken

    def close(self) -> None:
        """No more items will come; what is there can still be taken."""
        self._closed = True
        self._arrived.set()
        self._left.set()

    def clear(self) -> list[Item]:
        """Take out everything that is left."""
        left = list(self._items)
        self._items.clear()
        self._bytes = self._catching_up = 0
        return left
