"""Figures of a running command as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wtp.metrics import Latency

Snapshot = Callable[[], dict[str, Any]]
Latencies = Callable[[], "Mapping[str, Latency]"]


def exposition(name: str, snapshot: Snapshot, latencies: Latencies | None) -> Callable[[], bytes]:
    """What makes the text of GET /metrics.

    Args:
        name: The command.
        snapshot: Its figures.
        latencies: Its histograms by hop.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
