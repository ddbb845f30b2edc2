"""What all tracks of a kind have counted together, also those that have gone."""

from __future__ import annotations

from typing import Any

from wtp.metrics import Buckets, Ledger
from wtp.router.route import Route


class Totals:
    """Sums over routes; they never fall, as Prometheus wants its counters."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.receipt = Buckets()
        self.wait = Buckets()
        self.travel = Buckets()

    def add(self, other: Totals | Route) -> None:
        """Add a route's counts, or other sums, to these."""
        self.ledger.add(other.ledger)
        for own, more in (
            (self.receipt, other.receipt),
            (self.wait, other.wait),
            (self.travel, other.travel),
        ):
            if any(more.counts):
                own.counts = [a + b for a, b in zip(own.counts, more.counts, strict=True)]
                own.sum_us += more.sum_us
                own.max_us = max(own.max_us, more.max_us)

    def snapshot(self) -> dict[str, Any]:
        """The counts of objects, `receipt` and `hops`, as of a track."""
        return {
            **self.ledger.snapshot(),
            "receipt": self.receipt.snapshot(),
            "hops": hops(self),
        }


def hops(counted: Totals | Route) -> dict[str, Any]:
    """The router's own hops: `send->route` while the sender's clock is known, `route->publish`."""
    return {
        "send->route": counted.travel.snapshot(),
        "route->publish": counted.wait.snapshot(),
    }


def figures(route: Route) -> dict[str, Any]:
    """A track's figures as plain values, without its hops: these cost as much as all others."""
    return {
        "kind": route.kind.value,
        "content_type": route.content_type,
        "topic": route.topic,
        "publisher_connected": route.owner is not None,
        "queued": route.queued,
        "queued_bytes": route.queued_bytes,
        "last_seq": route.last_seq,
        "key_requests": route.key_requests,
        "receipt": route.receipt.snapshot(),
        **route.ledger.snapshot(),
    }
