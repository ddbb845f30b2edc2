"""A data folder in memory: what the protocol tests need of `Store`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.memorylog import MemoryLog
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.values import CursorState, FsyncPolicy, Position
from wtp.broker.naming import parse_topic


class MemoryStore(Store):
    """Namespaces `public/default` and `public/off` (de-duplication off), topics in memory."""

    def __init__(self, folder: Path, fsync: FsyncPolicy = FsyncPolicy.INTERVAL) -> None:
        self.folder = folder
        self.fsync = fsync
        self.damage = []
        self.known = {"public/default", "public/off"}
        self.logs: dict[str, TopicLog] = {}
        self.counts: dict[str, int] = {}
        self.cursors: dict[tuple[str, str], CursorState] = {}
        self.sequences: dict[str, dict[str, int]] = {}

    def has_namespace(self, namespace: str) -> bool:
        return namespace in self.known

    def deduplication(self, topic: str) -> bool:
        return parse_topic(topic).namespace != "off"

    def topics(self, namespace: str) -> list[str]:
        return sorted(t for t in self.logs if parse_topic(t).namespace_path == namespace)

    def has_topic(self, name: str) -> bool:
        return name in self.logs

    def open_topic(self, name: str, create: bool = True) -> TopicLog:
        if name not in self.logs:
            self.logs[name] = MemoryLog(name, ledger=7)
        return self.logs[name]

    def close_topic(self, name: str) -> None:
        return

    def delete_topic(self, name: str) -> None:
        del self.logs[name]

    def partitions(self, name: str) -> int:
        return self.counts.get(name, 0)

    def set_partitions(self, name: str, partitions: int) -> None:
        self.counts[name] = partitions

    def partitioned_topics(self, namespace: str, domain: str = "persistent") -> list[str]:
        names = [parse_topic(n) for n in self.counts]
        return [str(n) for n in names if (n.namespace_path, n.domain) == (namespace, domain)]

    def load_cursors(self, topic: str) -> dict[str, CursorState]:
        return {sub: state for (name, sub), state in self.cursors.items() if name == topic}

    def save_cursor(self, topic: str, subscription: str, state: CursorState) -> None:
        self.cursors[topic, subscription] = state

    def delete_cursor(self, topic: str, subscription: str) -> None:
        self.cursors.pop((topic, subscription), None)

    def load_sequences(self, topic: str) -> dict[str, int]:
        return dict(self.sequences.get(topic, {}))

    def save_sequences(self, topic: str, sequences: Mapping[str, int], position: Position) -> None:
        self.sequences[topic] = dict(sequences)

    def close(self) -> None:
        return
