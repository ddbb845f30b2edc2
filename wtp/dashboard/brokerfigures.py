"""What a broker tells of its topics, in this project's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtp.dashboard.rates import Meter

Figures = dict[str, Any]

COUNTERS = ("msgInCounter", "msgOutCounter", "bytesInCounter")


def topic_figures(stats: Mapping[str, Any], meter: Meter, at_us: int) -> Figures:
    """Figures of one topic out of Pulsar's `GET .../stats`.

    Args:
        stats: The answer.
        meter: Follows this topic's counters: a broker's own rates are those of the last minute.
        at_us: When it came, CLOCK_MONOTONIC.

    Returns:
        Rates in and out, size, producers, and its subscriptions with their backlog: how many
        messages their consumers lag behind.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is no such answer.
    """
    subscriptions = {
        name: {
            "type": one.get("type") or "None",
            "durable": bool(one.get("isDurable", True)),
            "consumers": len(one.get("consumers") or []),
            "backlog": int(one.get("msgBacklog") or 0),
            "unacked": int(one.get("unackedMessages") or 0),
            "out_s": round(float(one.get("msgRateOut") or 0), 2),
        }
        for name, one in (stats.get("subscriptions") or {}).items()
    }
    rates = meter.take(at_us, {name: float(stats[name]) for name in COUNTERS})

    def rate(counter: str, own: str) -> float:
        known = rates[counter]
        return round(float(stats[own]) if known is None else known, 2)

    return {
        "in_s": rate("msgInCounter", "msgRateIn"),
        "out_s": rate("msgOutCounter", "msgRateOut"),
        "in_bits_s": round(rate("bytesInCounter", "msgThroughputIn") * 8),
        "storage_bytes": int(stats["storageSize"]),
        "producers": len(stats.get("publishers") or []),
        "backlog": max((one["backlog"] for one in subscriptions.values()), default=0),
        "subscriptions": subscriptions,
    }


def totals(topics: Mapping[str, Figures]) -> Figures:
    """Sums over topics; `backlog` is that of the subscription that lags most."""
    return {
        "topics": len(topics),
        "in_s": round(sum(one["in_s"] for one in topics.values()), 2),
        "out_s": round(sum(one["out_s"] for one in topics.values()), 2),
        "storage_bytes": sum(one["storage_bytes"] for one in topics.values()),
        "backlog": max((one["backlog"] for one in topics.values()), default=0),
    }
