"""What waits between the broker and a slow output: bounded, with a policy for each need.

Live: a full queue gives up its oldest group, as far as the next object that can be decoded, so that
what remains is newer and decodes. Otherwise whoever fills it waits, and the broker keeps the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque

from wtp.consumer.item import Item

MAX_ITEMS = 120
"""Four seconds of video at 30 a second; two groups of the default length."""

MAX_BYTES = 64 * 1024 * 1024


class Pending:
    """A bounded queue of items; one reader, any writers, all on one loop.

    Args:
        live: Whether it drops when full (else writers wait).
        max_items: Items that wait at most.
        max_bytes: Their payloads' bytes at most; a single larger one still passes.
    """

    def __init__(
        self, *, live: bool, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.live = live
        self._max_items, self._max_bytes = max_items, max_bytes
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._broken: set[str] = set()
        self._closed = False
        self._arrived = asyncio.Event()
        self._left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def _over(self, more_bytes: int) -> bool:
        full = len(self._items) >= self._max_items
        return bool(self._items) and (full or self._bytes + more_bytes > self._max_bytes)

    async def put(self, item: Item) -> list[Item]:
        """Add an item.

        Returns:
            The items that were dropped for it, itself included when it is one.
        """
        while not self.live and not self._closed and self._over(item.size_bytes):
            self._left.clear()
            await self._left.wait()
        dropped: list[Item] = []
        while self.live and self._over(item.size_bytes):
            dropped += self._give_up()
        if item.track in self._broken:
            if not item.startable:
                return [*dropped, item]
            self._broken.discard(item.track)
        self._items.append(item)
        self._bytes += item.size_bytes
        self._arrived.set()
        return dropped

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
        self._bytes -= sum(item.size_bytes for item in dropped)
        if not whole:
            self._broken.add(track)
        return dropped

    async def take(self, at_most: int) -> list[Item]:
        """Wait for items; an empty list means that it was closed and nothing is left."""
        while not self._items:
            if self._closed:
                return []
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._items.popleft() for _ in range(min(at_most, len(self._items)))]
        self._bytes -= sum(item.size_bytes for item in taken)
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
        self._bytes = 0
        return left
