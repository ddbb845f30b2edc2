"""What `wtp publish --via pulsar-ws` says beside the usual: how long receipts take."""

from __future__ import annotations

from typing import Any

from wtp.ui import publish
from wtp.ui.common import clean, ms

Snapshot = dict[str, Any]


def announce(info: Snapshot) -> str:
    """Where it publishes to, and what."""
    return publish.announce(info)


def line(snapshot: Snapshot) -> str:
    """The publisher in one line: state, middle time to a receipt, then each track."""
    return publish.line(snapshot).replace("round trip", "send to receipt", 1)


def summary(snapshot: Snapshot) -> str:
    """The publisher at its end: every object accounted for, and the times to receipts."""
    lines = [publish.summary(snapshot)]
    for name, producer in (snapshot.get("receipts") or {}).items():
        figures = producer.get("receipt") or {}
        if figures.get("n"):
            lines.append(
                f"{'receipt':<10} {clean(name)}: p50 {ms(figures['p50_ms'])}, "
                f"p99 {ms(figures['p99_ms'])}, max {ms(figures['max_ms'])} of {figures['n']}"
            )
    return "\n".join(lines)
