"""What a broker tells of its topics, in this project's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Figures = dict[str, Any]


def topic_figures(stats: Mapping[str, Any]) -> Figures:
    """Figures of one topic out of Pulsar's `GET .../stats`.

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
    return {
        "in_s": round(float(stats["msgRateIn"]), 2),
        "out_s": round(float(stats["msgRateOut"]), 2),
        "in_bits_s": round(float(stats["msgThroughputIn"]) * 8),
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
