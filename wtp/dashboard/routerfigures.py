"""What a router's `/stats` say, as figures of the last second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtp.dashboard.rates import Meter, counts, number, window

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
        dropped = counts(track["dropped"])
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
            "queued": number(track["queued"]),
            "in_flight": number(track["in_flight"]),
            "dropped": dropped,
            "receipt": receipt,
        }

    def _whole(self, body: Mapping[str, Any], tracks: Mapping[str, Figures], at_us: int) -> Figures:
        objects = body["objects"]
        dropped = counts(objects.get("dropped"))
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
            **_state(body),
            "tracks": len(tracks),
            "objects_s": rates["offered"],
            "bits_s": _bits(rates["bytes"]),
            "dropped_s": rates["dropped"],
            "queued": sum(one["queued"] or 0 for one in tracks.values()),
            "in_flight": number(objects.get("in_flight", 0)),
            "dropped": dropped,
            "refused": counts(body.get("refused")),
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
        **_state(body),
        **unknown,
        "dropped": {},
        "refused": {},
        "notes": {"figures": "only its health: /stats is for its own machine"},
        "processors": _processors(body.get("services") or {}),
    }


def _state(body: Mapping[str, Any]) -> Figures:
    """What /stats and /health have in common."""
    return {
        "status": str(body["status"]),
        "version": body.get("version"),
        "uptime_s": number(body["uptime_s"]),
        "sessions": number(body["sessions"]),
        "broker": str(body["broker"]),
        "broker_connected": bool(body["connected"]),
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
            "in_flight": number(one["in_flight"]),
            "held": number(service.get("in_flight", 0)),
            "answered": counts(one.get("tries")).get("answered", 0),
            "p50_ms": number(one.get("p50_ms")),
            "p99_ms": number(one.get("p99_ms")),
            "dropped": counts(service.get("dropped")),
            "problem": one.get("last_error") or "",
        }
        for kind, service in services.items()
        for url, one in service["urls"].items()
    ]
