"""All that is watched, side by side, as one snapshot of plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wtp.dashboard.processfigures import START

Figures = dict[str, Any]

ROUTER_UNKNOWN = (
    "status", "version", "uptime_s", "sessions", "tracks", "broker", "broker_connected",
    "objects_s", "bits_s", "dropped_s", "queued", "in_flight", "receipt_p99_ms",
)  # fmt: skip
PROCESS_UNKNOWN = (
    "objects", "objects_s", "bits_s", "queued", "latency", "clock_error_ms", "gaps"
)  # fmt: skip
TRACK_UNKNOWN = (
    "objects_s", "bits_s", "dropped_s", "queued", "in_flight", "publisher_connected", "receipt",
    "latency",
)  # fmt: skip
BROKER_UNKNOWN = (
    "healthy", "health_ms", "version", "embedded", "topics", "in_s", "out_s", "storage_bytes",
    "backlog",
)  # fmt: skip

LOST = "lost"
"""A track whose router does not answer: it may go on, nobody knows."""


def filled(figures: Mapping[str, Any], names: Iterable[str]) -> Figures:
    """Figures with None for those that are not there."""
    return {**dict.fromkeys(names), **figures}


def tracks_of(
    routers: Mapping[str, Mapping[str, Figures]], consumers: Mapping[int, Mapping[str, Figures]]
) -> dict[str, Figures]:
    """One row a track: what its router counts, and what its slowest consumer measures.

    Args:
        routers: By URL, their tracks by name.
        consumers: By pid, their tracks by name.
    """
    rows: dict[str, Figures] = {}
    for url, tracks in routers.items():
        for name, track in tracks.items():
            rows[name] = {**filled(track, TRACK_UNKNOWN), "router": url, "hops": {}}
    for pid, tracks in consumers.items():
        for name, track in tracks.items():
            row = rows.get(name)
            if row is None:
                row = {
                    **dict.fromkeys(TRACK_UNKNOWN),
                    "kind": track.get("kind"),
                    "dropped": {},
                    "objects_s": track.get("objects_s"),
                    "bits_s": track.get("bits_s"),
                    "router": None,
                    "hops": {},
                }
                rows[name] = row
            latency = track["latency"]
            worse = row["latency"] is None or (
                latency is not None and (latency["p99_ms"] or 0) > (row["latency"]["p99_ms"] or 0)
            )
            if worse and latency is not None:
                row["latency"] = {**latency, "from": "capture", "to": "receive", "pid": pid}
                row["hops"] = track["hops"]
    return rows


def latency_of(row: Mapping[str, Any]) -> Figures:
    """The latency of a track: the consumer's, else from the router to the broker's receipt."""
    return row.get("latency") or row.get("receipt") or {}


def point(row: Mapping[str, Any]) -> dict[str, float | None]:
    """What the history keeps of a track.

    Percentiles since a process's start would draw an ever flatter line: they have none, and
    `last_ms`, the newest object's latency, stands in their place.
    """
    latency = latency_of(row)
    live = latency if latency.get("over") != START else {}
    return {
        **{name: row[name] for name in ("objects_s", "bits_s", "dropped_s")},
        **{name: live.get(name) for name in ("p50_ms", "p99_ms")},
        "last_ms": latency.get("last_ms"),
        "receipt_p99_ms": (row.get("receipt") or {}).get("p99_ms"),
    }


def rooms_of(tracks: Mapping[str, Figures]) -> dict[str, Figures]:
    """Sums by room: the first part of a track's name."""
    rooms: dict[str, Figures] = {}
    for name, row in tracks.items():
        room, _, rest = name.partition("/")
        one = rooms.setdefault(
            room, {"tracks": 0, "publishers": set(), "objects_s": None, "bits_s": None}
        )
        one["tracks"] += 1
        one["publishers"].add(rest.partition("/")[0])
        for figure in ("objects_s", "bits_s"):
            if row[figure] is not None:
                one[figure] = round((one[figure] or 0) + row[figure], 3)
    return {room: {**one, "publishers": len(one["publishers"])} for room, one in rooms.items()}


def drops_of(routers: Iterable[Figures], processes: Iterable[Figures]) -> dict[str, dict[str, int]]:
    """Dropped objects by hop and reason: publishers, routers, processors, consumers."""
    drops: dict[str, dict[str, int]] = {}

    def add(hop: str, dropped: Mapping[str, int]) -> None:
        table = drops.setdefault(hop, {})
        for reason, count in dropped.items():
            if count:
                table[reason] = table.get(reason, 0) + count

    for one in processes:
        if one["role"] == "publish":
            add("publish", one.get("dropped") or {})
    for router in routers:
        add("router", router.get("dropped") or {})
        add("refused", router.get("refused") or {})
        for kind, dropped in {p["kind"]: p["dropped"] for p in router["processors"]}.items():
            add(f"processor {kind}", dropped)
    for one in processes:
        if one["role"] != "publish":
            add(one["role"], one.get("dropped") or {})
    return {hop: table for hop, table in drops.items() if table}


def whole_of(routers: Iterable[Figures], tracks: Mapping[str, Figures]) -> Figures:
    """What the head shows: sums over routers that answer, the worst track's latency."""
    up = [router for router in routers if router["state"] == "up"]

    def total(name: str) -> float | None:
        known = [router[name] for router in up if router[name] is not None]
        return round(sum(known), 3) if known else None

    known = [one for one in map(latency_of, tracks.values()) if one.get("p99_ms") is not None]
    worst: Figures = max(known, key=lambda one: one["p99_ms"], default={})
    return {
        **{name: total(name) for name in ("sessions", "tracks", "queued", "in_flight")},
        **{name: total(name) for name in ("objects_s", "bits_s", "dropped_s")},
        "p50_ms": worst.get("p50_ms"),
        "p99_ms": worst.get("p99_ms"),
    }
