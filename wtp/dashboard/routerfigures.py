"""What a router's `/stats` say, as figures of the last second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtp.dashboard.rates import Meter, window

Figures = dict[str, Any]


class RouterFigures:
    """Follows the answers of one router; a new run of it begins anew."""

    def __init__(self) -> None:
        self._meter = Meter()
        self._meters: dict[str, Meter] = {}
        self._buckets: dict[str, list[int]] = {}
        self._uptime_s = 0.0

    def take(self, body: Mapping[str, Any], at_us: int) -> tuple[Figures, dict[str, Figures]]:
        """Take one answer.

        Args:
            body: The router's snapshot.
            at_us: When it came, CLOCK_MONOTONIC.

        Returns:
            Figures of the router, and of its tracks by name.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: It is no router's snapshot.
        """
        uptime_s = float(body["uptime_s"])
        if uptime_s < self._uptime_s:
            self._meter, self._meters, self._buckets = Meter(), {}, {}
        self._uptime_s = uptime_s
        given = body["tracks"]
        for gone in self._meters.keys() - given.keys():
            del self._meters[gone]
            self._buckets.pop(gone, None)
        tracks = {name: self._track(name, track, at_us) for name, track in given.items()}
        return self._whole(body, tracks, at_us), tracks

    def _track(self, name: str, track: Mapping[str, Any], at_us: int) -> Figures:
        meter = self._meters.setdefault(name, Meter())
        dropped = dict(track["dropped"])
        rates = meter.take(
            at_us,
            {
                "offered": track["offered"],
                "bytes": track["bytes"],
                "dropped": sum(dropped.values()),
            },
        )
        buckets = track["receipt"].get("buckets")
        receipt = window(self._buckets.get(name), buckets) if buckets else {}
        if buckets:
            self._buckets[name] = buckets
        return {
            "kind": str(track["kind"]),
            "content_type": track.get("content_type") or None,
            "topic": str(track["topic"]),
            "publisher_connected": bool(track["publisher_connected"]),
            "objects_s": rates["offered"],
            "bits_s": _bits(rates["bytes"]),
            "dropped_s": rates["dropped"],
            "queued": track["queued"],
            "in_flight": track["in_flight"],
            "dropped": dropped,
            "receipt": {"total_n": track["receipt"]["n"], **receipt},
        }

    def _whole(self, body: Mapping[str, Any], tracks: Mapping[str, Figures], at_us: int) -> Figures:
        objects = body["objects"]
        dropped = dict(objects.get("dropped") or {})
        rates = self._meter.take(
            at_us,
            {
                "offered": objects.get("offered", 0),
                "bytes": objects.get("bytes", 0),
                "dropped": sum(dropped.values()),
            },
        )
        receipts = [one["receipt"] for one in tracks.values() if one["receipt"].get("n")]
        return {
            "status": body["status"],
            "version": body.get("version"),
            "uptime_s": body["uptime_s"],
            "sessions": body["sessions"],
            "tracks": len(tracks),
            "broker": body["broker"],
            "broker_connected": body["connected"],
            "objects_s": rates["offered"],
            "bits_s": _bits(rates["bytes"]),
            "dropped_s": rates["dropped"],
            "queued": sum(one["queued"] for one in tracks.values()),
            "in_flight": objects.get("in_flight", 0),
            "dropped": dropped,
            "refused": dict(body.get("refused") or {}),
            "receipt_p99_ms": max((one["p99_ms"] for one in receipts), default=None),
            "notes": dict(body.get("notes") or {}),
            "processors": _processors(body.get("services") or {}),
        }


def limited(body: Mapping[str, Any]) -> Figures:
    """Figures of a router on another machine, out of its `/health`: no counts, no tracks.

    Raises:
        KeyError, TypeError, AttributeError: It is no router's health.
    """
    unknown = dict.fromkeys(
        ("tracks", "objects_s", "bits_s", "dropped_s", "queued", "in_flight", "receipt_p99_ms")
    )
    return {
        "status": body["status"],
        "version": body.get("version"),
        "uptime_s": body["uptime_s"],
        "sessions": body["sessions"],
        "broker": body["broker"],
        "broker_connected": body["connected"],
        **unknown,
        "dropped": {},
        "refused": {},
        "notes": {"figures": "only its health: /stats is for its own machine"},
        "processors": _processors(body.get("services") or {}),
    }


def _bits(bytes_s: float | None) -> int | None:
    return None if bytes_s is None else round(bytes_s * 8)


def _processors(services: Mapping[str, Any]) -> list[Figures]:
    """HTTP processors, one entry a URL."""
    return [
        {
            "kind": kind,
            "url": url,
            "state": one["circuit"],
            "in_flight": one["in_flight"],
            "held": service.get("in_flight", 0),
            "answered": (one.get("tries") or {}).get("answered", 0),
            "p50_ms": one.get("p50_ms"),
            "p99_ms": one.get("p99_ms"),
            "dropped": dict(service.get("dropped") or {}),
            "problem": one.get("last_error") or "",
        }
        for kind, service in services.items()
        for url, one in service["urls"].items()
    ]
