"""The figures of the demo's processes, put side by side. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Snapshot = Mapping[str, Any]

NO_LATENCY = {"n": 0, "p50_ms": None, "p90_ms": None, "p99_ms": None, "max_ms": None}


def measured(publisher: Snapshot, consumer: Snapshot) -> dict[str, Any]:
    """What the consumer measured, and what the publisher says about its picture.

    Returns:
        `latency` from capture to receipt with `clock_error_ms`, `hops` by name, `video` with the
        rates that arrive.
    """
    latency = consumer.get("latency") or {}
    tracks = [track for track in _tracks(publisher) if track.get("kind") in ("video", "screen")]
    track = tracks[0] if tracks else {}
    return {
        "latency": {
            **NO_LATENCY,
            **(latency.get("total") or {}),
            "clock_error_ms": consumer.get("clock_error_ms"),
            "unknown": latency.get("unknown", 0),
        },
        "hops": dict(latency.get("hops") or {}),
        "video": {
            "size": track.get("size") or publisher.get("size"),
            "content_type": track.get("content_type"),
            "fps": consumer.get("fps"),
            "bitrate_bps": consumer.get("rate"),
            "sent_fps": track.get("fps"),
            "round_trip_ms": publisher.get("rtt_ms"),
        },
    }


def ledgers(last: Mapping[str, Snapshot]) -> dict[str, dict[str, Any]]:
    """What became of the objects at each hop; a hop without figures is left out.

    Args:
        last: Newest snapshot by process.

    Returns:
        Ledgers by process; `delivered` of the processor counts the objects that it has seen,
        whether it made something of them or not.
    """
    out: dict[str, dict[str, Any]] = {}
    tracks = _tracks(last.get("publisher", {}))
    if tracks:
        out["publisher"] = _sum(tracks)
    objects = last.get("router", {}).get("objects")
    if objects:
        out["router"] = _sum([objects])
    consumer = last.get("consumer", {})
    if "delivered" in consumer:
        out["consumer"] = _sum([{**consumer, "offered": consumer.get("objects", 0)}])
        out["consumer"]["missing"] = consumer.get("gaps") or 0
    processed = last.get("processor", {}).get("objects")
    if processed:
        out["processor"] = _sum([_seen(processed)])
    return out


def _seen(ledger: Snapshot) -> Snapshot:
    """The ledger of a processor: a picture of which it makes nothing is none that is lost."""
    dropped = dict(ledger.get("dropped") or {})
    silent = dropped.pop(FILTERED, 0)
    return {**ledger, "delivered": ledger.get("delivered", 0) + silent, "dropped": dropped}


def _tracks(publisher: Snapshot) -> list[Snapshot]:
    tracks = publisher.get("tracks") or {}
    return list(tracks.values()) if isinstance(tracks, Mapping) else list(tracks)


def _sum(parts: list[Snapshot]) -> dict[str, Any]:
    """Ledgers as one, with whether offered = delivered + dropped + in flight."""
    total = {name: sum(int(part.get(name) or 0) for part in parts) for name in COUNTS}
    dropped: dict[str, int] = {}
    for part in parts:
        for reason, count in (part.get("dropped") or {}).items():
            dropped[reason] = dropped.get(reason, 0) + int(count)
    balance = total["delivered"] + total["in_flight"] + sum(dropped.values())
    return {**total, "dropped": dropped, "balanced": total["offered"] == balance}


FILTERED = "filtered"
"""Reason of a processor for an input without output."""

COUNTS = ("offered", "delivered", "in_flight")
