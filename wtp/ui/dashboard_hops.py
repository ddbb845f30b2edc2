"""Where the time of the chosen track goes, or why that is not known."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.text import Text

from wtp.ui.common import clean
from wtp.ui.waterfall import Waterfall

Snapshot = dict[str, Any]

BESIDE = "publish->receipt"


def hops(snapshot: Snapshot, track: str) -> RenderableType:
    """The waterfall of a track; beside it what the broker takes for its receipts.

    Args:
        snapshot: Of `wtp.dashboard.run`.
        track: Its name; empty: none is chosen.
    """
    row = snapshot["tracks"].get(track)
    if row is None:
        return Text("no track is chosen", style="dim")
    if not row.get("hops") or not row.get("latency"):
        return Text(
            f"{clean(track)}: {_reason(snapshot, row)}",
            style="dim", no_wrap=True, overflow="ellipsis",
        )  # fmt: skip
    receipt = row.get("receipt") or {}
    latency = {"hops": row["hops"], "total": row["latency"]}
    return Waterfall(
        latency,
        title=f"hops of {track}, since consumer {row['latency'].get('pid')} began",
        clock_error_ms=row["latency"].get("clock_error_ms"),
        beside={BESIDE: receipt} if receipt.get("n") else None,
    )


def _reason(snapshot: Snapshot, row: Snapshot) -> str:
    if row.get("state") == "lost":
        return "its router does not answer: unknown"
    for one in snapshot["processes"]:
        if one["role"] == "consume" and one["state"] == "up" and one["latency"] is None:
            return "its consumer gets nothing now: unknown"
    return "no hops: let a consumer of it show its figures (--metrics 127.0.0.1:0)"
