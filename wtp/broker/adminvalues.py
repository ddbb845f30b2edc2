"""What the admin client answers with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Policies:
    """What a namespace promises; where nothing is set, the broker's defaults.

    Attributes:
        retention_minutes: Acknowledged data stays this long; 0 not at all, -1 for ever.
        retention_mb: Acknowledged data of a topic may have this size in MiB; 0 none, -1 any.
        deduplication: Whether a producer's repeated sequence ids are dropped.
        own: Names of those that the namespace sets itself: `retention`, `deduplication`.
    """

    retention_minutes: int
    retention_mb: int
    deduplication: bool
    own: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Health:
    """A broker that answers.

    Attributes:
        healthy: Whether it says that it works.
        version: Its version, as it states it.
        embedded: Whether it is wtp's own broker.
        details: What the embedded one adds: uptime_s, damage, topics, fsync.
    """

    healthy: bool
    version: str
    embedded: bool
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was peeked at.

    Attributes:
        payload: Its bytes; a batch stays whole.
        headers: What came with it, names in lower case.
    """

    payload: bytes
    headers: Mapping[str, str]

    @property
    def message_id(self) -> str:
        """Ledger and entry."""
        return self.headers.get("x-pulsar-message-id", "")

    @property
    def publish_time(self) -> str:
        """Time of publishing in ISO 8601, as the broker wrote it."""
        return self.headers.get("x-pulsar-publish-time", "")

    @property
    def batch(self) -> int:
        """Messages in the payload; 1 for a message of its own."""
        return int(self.headers.get("x-pulsar-num-batch-message", "1"))

    @property
    def properties(self) -> dict[str, str]:
        """Its properties."""
        prefix = "x-pulsar-property-"
        try:
            found = json.loads(self.headers.get("x-pulsar-property", "{}"))
        except ValueError:
            found = {}
        named = {k.removeprefix(prefix): v for k, v in self.headers.items() if k.startswith(prefix)}
        return {str(k): str(v) for k, v in (found or named).items()}
