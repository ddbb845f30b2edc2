"""The small values that storage, protocol and REST share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from wtp.errors import UsageError


class Position(NamedTuple):
    """Where an entry lies in a topic. Positions are ordered; `(-1, -1)` is before everything.

    Attributes:
        ledger: Id of one run of the topic since it was opened; unique in the data folder.
        entry: Number of the entry within that ledger, from 0 on.
    """

    ledger: int
    entry: int

    def __str__(self) -> str:
        return f"{self.ledger}:{self.entry}"


EARLIEST = Position(-1, -1)
"""Before every entry."""

LATEST = Position(2**63 - 1, 2**63 - 1)
"""Behind every entry (the value that Pulsar's clients send for MessageId.latest)."""


class Entry(NamedTuple):
    """One stored message or batch.

    Attributes:
        position: Where it lies.
        publish_ms: The producer's publish time, Unix milliseconds.
        messages: Messages in it (1, or the size of the batch).
        blob: Magic, checksum, metadata size, metadata and payload, as the producer sent them.
    """

    position: Position
    publish_ms: int
    messages: int
    blob: bytes


class FsyncPolicy(StrEnum):
    """When data is forced to the disk. Data in the page cache survives kill -9 under each of them.

    `never` leaves it to the kernel, `interval` does it once a second, `always` before the receipt.
    """

    NEVER = "never"
    INTERVAL = "interval"
    ALWAYS = "always"

    @classmethod
    def named(cls, text: str) -> FsyncPolicy:
        """Return the policy called `text`.

        Raises:
            UsageError: There is none of that name.
        """
        try:
            return cls(text)
        except ValueError:
            names = ", ".join(cls)
            raise UsageError(
                f"There is no fsync policy {text!r}.", hint=f"Choose one of {names}."
            ) from None


@dataclass(frozen=True, slots=True)
class CursorState:
    """How far a durable subscription has come.

    Attributes:
        mark_delete: Everything up to and including it is acknowledged; `EARLIEST` for nothing.
            A subscription that starts at position p has `Position(p.ledger, p.entry - 1)`.
        acked: Ranges behind `mark_delete` acknowledged one by one, each with its first and last
            position, both inclusive, ascending.
        properties: What the subscriber attached to the subscription.
    """

    mark_delete: Position = EARLIEST
    acked: tuple[tuple[Position, Position], ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long acknowledged data stays: until one of the limits is passed.

    Attributes:
        minutes: Age limit; 0 drops acknowledged data at once, -1 sets no limit.
        megabytes: Size limit per topic in MiB; 0 and -1 as for `minutes`.
    """

    minutes: int
    megabytes: int
