"""Lists of topics: hashes, patterns, and clients that want to hear of new ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google_crc32c import value as crc32c

from wtp.broker.embedded.answers import WatchTopicsUpdate
from wtp.broker.embedded.numbers import Cmd

if TYPE_CHECKING:
    from wtp.broker.embedded.consumer import Link
    from wtp.broker.embedded.core import Core

_SIMPLE = re.compile(r"(?:[\w/:-]|\\\.)*", re.ASCII)


def topics_hash(topics: Iterable[str]) -> str:
    """What clients compare to see whether a list changed: CRC32C of the sorted, joined names."""
    checksum = int(crc32c(",".join(sorted(topics)).encode()))
    return checksum.to_bytes(4, "little").hex()


def matching(topics: list[str], pattern: str) -> list[str]:
    """The topics whose name, without domain and partition, matches a client's pattern.

    Only names and `.*` are understood, in linear time; any other pattern matches everything, since
    a regular expression from a client could keep the broker busy for ever.
    """
    if not understood(pattern):
        return topics
    literals = [piece.replace("\\.", ".") for piece in _pieces(pattern)]
    return [topic for topic in topics if _matches(_plain(topic), literals)]


def understood(pattern: str) -> bool:
    """Whether a pattern consists of names and `.*` only."""
    return all(_SIMPLE.fullmatch(piece) for piece in _pieces(pattern))


def _pieces(pattern: str) -> list[str]:
    return (pattern.partition("://")[2] or pattern).split(".*")


def _matches(name: str, literals: list[str]) -> bool:
    first, *rest = literals
    if not rest:
        return name == first
    if not name.startswith(first) or len(name) < len(first) + len(rest[-1]):
        return False
    at, end = len(first), len(name) - len(rest[-1])
    for literal in rest[:-1]:
        at = name.find(literal, at, end)
        if at < 0:
            return False
        at += len(literal)
    return name.endswith(rest[-1])


def _plain(topic: str) -> str:
    return re.sub(r"-partition-\d+$", "", topic.partition("://")[2])


@dataclass(slots=True, eq=False)
class Watcher:
    """A client that watches the topics of a namespace."""

    link: Link
    watcher_id: int
    namespace: str
    pattern: str


class TopicWatchers:
    """Those who are told of new and deleted topics.

    Args:
        core: The broker.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._watchers: list[Watcher] = []

    def add(self, watcher: Watcher) -> list[str]:
        """Take a watcher in; returns the topics that match now."""
        self._watchers.append(watcher)
        return self.visible(watcher)

    def visible(self, watcher: Watcher) -> list[str]:
        """The persistent topics that match now."""
        return matching(self._core.names(watcher.namespace, volatile=False), watcher.pattern)

    def remove(self, link: Link, watcher_id: int | None = None) -> None:
        """Forget a watcher, or all of a connection."""
        self._watchers = [
            w
            for w in self._watchers
            if w.link is not link or (watcher_id is not None and w.watcher_id != watcher_id)
        ]

    def changed(self, namespace: str, topic: str, *, deleted: bool = False) -> None:
        """Tell those who watch that a topic is new or gone."""
        for watcher in self._watchers:
            if watcher.namespace != namespace or not matching([topic], watcher.pattern):
                continue
            names = [] if deleted else [topic]
            gone = [topic] if deleted else []
            now = topics_hash(self.visible(watcher))
            update = WatchTopicsUpdate(watcher.watcher_id, names, gone, now)
            watcher.link.answer(Cmd.WATCH_TOPICS_UPDATE, update)
