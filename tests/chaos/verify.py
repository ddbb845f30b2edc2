"""Reads back what is in a topic with plain `pulsar-client` and holds it against what was said."""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pulsar

READ_S = 30.0


@dataclass(frozen=True, slots=True)
class Account:
    """What one writer was promised.

    Attributes:
        number: Of the writer.
        acked: Lines that were acknowledged to it.
        whole: Lines that must be there in all; None when it was killed.
    """

    number: int
    acked: int
    whole: int | None


@dataclass(slots=True)
class Findings:
    """What is wrong with a topic."""

    acked: int = 0
    stored: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    gaps: int = 0

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.disordered or self.gaps)

    def add(self, other: Findings) -> None:
        """Add another topic's."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def read(url: str, topic: str, expect: int) -> dict[int, list[int]]:
    """The lines of every writer in the order of the topic; waits until `expect` are there."""
    found: dict[int, list[int]] = defaultdict(list)
    instances: dict[int, set[str]] = defaultdict(set)
    client = pulsar.Client(url, logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull))
    try:
        reader = client.create_reader(topic, pulsar.MessageId.earliest)
        end, count = time.monotonic() + READ_S, 0
        while reader.has_message_available() or (count < expect and time.monotonic() < end):
            try:
                message = reader.read_next(timeout_millis=500)
            except pulsar.Timeout:
                continue
            writer, _, line = message.data().decode().partition(":")
            assert message.properties()["seq"] == line, message.properties()
            instances[int(writer)].add(message.properties()["instance"])
            found[int(writer)].append(int(line))
            count += 1
    finally:
        client.close()
    assert all(len(names) == 1 for names in instances.values()), instances
    return found


def judge(found: dict[int, list[int]], accounts: Sequence[Account]) -> Findings:
    """Count what is lost, doubled, out of order or missing in between."""
    out = Findings()
    for account in accounts:
        lines = found.get(account.number, [])
        there = set(lines)
        promised = max(account.acked, account.whole or 0)
        out.acked += account.acked
        out.stored += len(lines)
        out.lost += len(set(range(1, promised + 1)) - there)
        out.doubled += len(lines) - len(there)
        out.disordered += sum(a > b for a, b in itertools.pairwise(lines))
        out.gaps += max(there, default=0) - len(there) if not out.lost else 0
    return out
