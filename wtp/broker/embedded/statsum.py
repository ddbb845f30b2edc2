"""Adding up the statistics of a partitioned topic's partitions."""

from __future__ import annotations

from typing import Any

_AVERAGED = "averageMsgSize"


def sum_stats(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the statistics of all partitions together.

    Numbers add up (of times the latest stands), lists are joined, objects (subscriptions) are
    merged by name, and of texts and truth values the first stands.

    Args:
        parts: What `Broker.stats` returned for each partition.
    """
    total = _merged(parts)
    if total.get("msgInCounter"):
        total[_AVERAGED] = total.get("bytesInCounter", 0) / total["msgInCounter"]
    return total


def _merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: _together(key, [part[key] for part in parts if key in part]) for key in keys}


def _together(key: str, values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return _merged(values)
    if isinstance(first, list):
        return [item for value in values for item in value]
    if isinstance(first, bool) or not isinstance(first, int | float):
        return first
    return max(values) if key.endswith("Timestamp") else sum(values)
