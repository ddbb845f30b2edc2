"""What a topic remembers of its producers, so that nothing sent again is stored twice.

Bounded as in Pulsar: a name that has been away for 6 h is forgotten
(brokerDeduplicationProducerInactivityTimeoutMinutes=360), and so are the longest absent ones of
more than 10,000 (brokerDeduplicationMaxNumberOfProducers). Names of connected producers stay.
"""

from __future__ import annotations

from collections.abc import Mapping

from wtp.broker.embedded.sequences import MAX_PRODUCERS

INACTIVE_S = 360 * 60.0
"""A name that was away for that long is forgotten."""


class ProducerMemory:
    """Last sequence id of each producer of one topic.

    Args:
        known: What is stored; all of these names count as away since now.
        now: Monotonic seconds.

    Attributes:
        last: Last stored sequence id by name; `publish` writes it.
    """

    def __init__(self, known: Mapping[str, int], now: float) -> None:
        self.last = dict(known)
        self._away = dict.fromkeys(self.last, now)  # in the order they left
        self._trim()

    def came(self, name: str) -> None:
        """A producer connected."""
        self._away.pop(name, None)

    def left(self, name: str, now: float) -> None:
        """A producer went."""
        if name in self.last:
            self._away.pop(name, None)
            self._away[name] = now
            self.last[name] = self.last.pop(name)  # snapshots keep the end of the table
            self._trim()

    def forget(self, now: float) -> int:
        """Drop those that were away too long; returns how many."""
        gone = []
        for name, since in self._away.items():
            if now - since < INACTIVE_S:
                break
            gone.append(name)
        for name in gone:
            self._drop(name)
        return len(gone)

    def _trim(self) -> None:
        while len(self.last) > MAX_PRODUCERS and self._away:
            self._drop(next(iter(self._away)))

    def _drop(self, name: str) -> None:
        del self._away[name]
        del self.last[name]
