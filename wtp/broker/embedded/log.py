"""The log of one topic partition: append-only segments in one folder."""

from __future__ import annotations

from wtp.broker.embedded.values import Entry, Position


class TopicLog:
    """Entries of one persistent topic partition, in the order they were appended.

    Made by `Store.open_topic`; one object per topic, used from one thread (the event loop).

    Attributes:
        name: Complete topic name.
    """

    name: str

    @property
    def first(self) -> Position:
        """Position of the oldest entry, or `end` when there is none."""
        raise NotImplementedError

    @property
    def last(self) -> Position | None:
        """Position of the newest entry, None when there is none."""
        raise NotImplementedError

    @property
    def end(self) -> Position:
        """Position that the next append gets."""
        raise NotImplementedError

    @property
    def entries(self) -> int:
        """Number of entries that can be read."""
        raise NotImplementedError

    @property
    def size_bytes(self) -> int:
        """Size on disk."""
        raise NotImplementedError

    def append(self, blob: bytes, publish_ms: int, messages: int) -> Position:
        """Write one entry; it is in the page cache (and survives kill -9) when this returns.

        Raises:
            StorageError: The disk is full or broken; nothing of the entry is left in the log.
        """
        raise NotImplementedError

    def read(self, position: Position, max_entries: int, max_bytes: int) -> list[Entry]:
        """Return entries from the first one at or behind `position` on.

        At least one entry is returned when there is one, even if it is larger than `max_bytes`.
        Any position is allowed (`EARLIEST`, trimmed ones, between two ledgers).
        """
        raise NotImplementedError

    def next_position(self, position: Position) -> Position:
        """Return the position of the first entry behind `position`, or `end`."""
        raise NotImplementedError

    def previous_position(self, position: Position) -> Position:
        """Return the position of the last entry before `position`, or `EARLIEST`."""
        raise NotImplementedError

    def valid(self, position: Position) -> bool:
        """Tell whether an entry lies at exactly this position."""
        raise NotImplementedError

    def seek_time(self, publish_ms: int) -> Position:
        """Return the position of the first entry published at that time or later, or `end`."""
        raise NotImplementedError

    def count_between(self, start: Position, stop: Position) -> int:
        """Count the entries with start <= position < stop.

        A subscription's backlog is `count_between(next_position(mark_delete), end)`.
        """
        raise NotImplementedError

    def size_between(self, start: Position, stop: Position) -> int:
        """Estimate the bytes of the entries with start <= position < stop."""
        raise NotImplementedError

    async def durable(self, position: Position) -> None:
        """Wait until the entry at `position` may be acknowledged under the fsync policy.

        Returns at once unless the policy is `always`; then fsync runs in a thread, once for all
        entries that wait.

        Raises:
            StorageError: The disk did not take it.
        """
        raise NotImplementedError

    def ledgers(self) -> list[tuple[int, int, int]]:
        """Return (ledger, entries, bytes) of each ledger, oldest first."""
        raise NotImplementedError

    def trim(
        self, now_ms: int, retention_s: float, retention_bytes: int, keep_from: Position | None
    ) -> int:
        """Drop whole segments that nobody needs.

        Args:
            now_ms: Unix time in milliseconds.
            retention_s: Age after which acknowledged data goes; -1 for never.
            retention_bytes: Size that acknowledged data may have; -1 for any.
            keep_from: First position that the slowest durable subscription still needs; None when
                there is no durable subscription.

        Returns:
            Number of segments dropped.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Write what is pending and close the files."""
        raise NotImplementedError
