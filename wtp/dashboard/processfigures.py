"""What processes with `--metrics` tell of themselves, whatever their role, in one shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtp.dashboard.rates import Meter, counts, number, window
from wtp.dashboard.watched import STALE_S

Figures = dict[str, Any]

HOP_KEYS = ("n", "p50_ms", "p90_ms", "p99_ms", "max_ms", "mean_ms", "share")

PERCENTILES = ("p50_ms", "p90_ms", "p99_ms")

SECOND, START = "second", "start"
"""What percentiles are of: the second before, or everything since the process began."""

RECEIPT = "capture->receive"
"""What a consumer's latency is of."""


class Latencies:
    """Follows one latency: its figures of the last second, where its owner counts in buckets."""

    def __init__(self) -> None:
        self._buckets: list[int] | None = None
        self._n = -1
        self._moved_us = 0

    def take(self, latency: Mapping[str, Any], at_us: int) -> Figures | None:
        """Take the figures of one answer.

        Args:
            latency: `n`, percentiles since the start, and `buckets` where there are any.
            at_us: When they came, CLOCK_MONOTONIC.

        Returns:
            `n` since the start; percentiles and `over`, what they are of: `second` or `start`;
            `last_ms`, of the newest object. None while nothing was measured, and when nothing new
            came for `STALE_S`: the last figure is not that of now.
        """
        n = int(latency.get("n") or 0)
        if n != self._n:
            self._n, self._moved_us = n, at_us
        buckets = latency.get("buckets")
        second = window(self._buckets, buckets) if buckets else {"n": 0}
        self._buckets = buckets
        silent_s = max((at_us - self._moved_us) / 1e6, number(latency.get("silent_s")) or 0)
        if not n or silent_s > STALE_S:
            return None
        known = {name: number(latency.get(name)) for name in (*PERCENTILES, "max_ms", "last_ms")}
        if second["n"]:
            return {**known, **second, "n": n, "over": SECOND}
        return {**known, "n": n, "over": START}


class ProcessFigures:
    """Follows the answers of one process.

    Args:
        role: Name of its command, as it registered itself.
    """

    def __init__(self, role: str) -> None:
        self._role = role
        self._meter = Meter()
        self._meters: dict[str, Meter] = {}
        self._latencies: dict[str, Latencies] = {}

    def take(self, body: Mapping[str, Any], at_us: int) -> Figures:
        """Take one answer.

        Returns:
            `state`, `objects_s`, `bits_s`, `queued`, `dropped` by reason, `latency` (see
            `Latencies.take`, with `what` it is of), `clock_error_ms`; `tracks` by name for a
            consumer. A figure that the role does not have is None.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: It is no snapshot of a role.
        """
        ledger, latency, what = self._parts(body)
        error_us, error_ms = number(body.get("clock_error_us")), number(body.get("clock_error_ms"))
        if error_us is not None:
            error_ms = error_us / 1000
        offered = number(ledger.get("offered", ledger.get("objects")))
        counters = {"objects": offered, "bytes": number(ledger.get("bytes"))}
        known = {name: value for name, value in counters.items() if value is not None}
        rates = self._meter.take(at_us, known)
        bytes_s = rates.get("bytes")
        return {
            "state": str(body.get("state") or body.get("status") or ""),
            "objects": offered,
            "objects_s": rates.get("objects"),
            "bits_s": None if bytes_s is None else round(bytes_s * 8),
            "queued": number(ledger.get("queued", ledger.get("in_flight"))),
            "dropped": counts(ledger.get("dropped")),
            "latency": self._latency("", latency, at_us),
            "what": what,
            "clock_error_ms": error_ms,
            "gaps": number(body.get("gaps")),
            "tracks": self._tracks(body, at_us) if what == RECEIPT else {},
            "hops": self._hops(body.get("latency") or {}),
        }

    def _latency(self, name: str, given: Mapping[str, Any], at_us: int) -> Figures | None:
        return self._latencies.setdefault(name, Latencies()).take(given, at_us)

    def _parts(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any], str]:
        """Where a role keeps its ledger and its latency, and what that latency is of."""
        latency = body.get("latency") or {}
        if "total" in latency:  # consume
            now = {key: latency.get(key) for key in ("last_ms", "silent_s")}
            return body, {**latency["total"], **now}, RECEIPT
        if "took" in body:  # processor
            return body.get("objects") or {}, body["took"] or {}, "in->out"
        if isinstance(body.get("read"), Mapping):  # chat
            return body["read"], {}, ""
        if isinstance(body.get("ledger"), Mapping):  # watch
            return body["ledger"], latency, "capture->show"
        tracks = body.get("tracks")
        if self._role == "publish" and isinstance(tracks, Mapping):
            return _sum(list(tracks.values())), {}, ""
        return body, latency if "n" in latency else {}, ""

    def _tracks(self, body: Mapping[str, Any], at_us: int) -> dict[str, Figures]:
        """Tracks of a consumer; where there is one, what is only told of all is its own."""
        given, whole = body.get("tracks") or {}, body["latency"]
        kept = {"", *given}
        self._latencies = {k: v for k, v in self._latencies.items() if k in kept}
        tracks = {}
        for name, track in given.items():
            alone = whole if len(given) == 1 else {}
            now = {key: track.get(key, alone.get(key)) for key in ("last_ms", "silent_s")}
            figures = self._latency(name, {**now, **(track.get("latency") or {})}, at_us)
            error_ms = track.get("clock_error_ms", body.get("clock_error_ms"))
            tracks[name] = {
                "kind": track.get("kind"),
                "objects_s": number(track.get("fps")),
                "bits_s": number(track.get("rate")),
                "gaps": number(track.get("gaps")),
                "latency": figures and {**figures, "clock_error_ms": number(error_ms)},
                "hops": self._hops(track if "hops" in track else alone) if figures else {},
            }
        return tracks

    def _hops(self, latency: Mapping[str, Any]) -> dict[str, Figures]:
        """Figures of each hop since the start."""
        return {
            name: {key: number(value) for key, value in hop.items() if key in HOP_KEYS}
            for name, hop in (latency.get("hops") or {}).items()
        }


def _sum(tracks: list[Mapping[str, Any]]) -> Figures:
    """The ledgers of a publisher's tracks as one."""
    total: Figures = {"offered": 0, "bytes": 0, "queued": 0, "dropped": {}}
    for track in tracks:
        total["offered"] += track.get("offered", 0)
        total["bytes"] += track.get("bytes", 0)
        total["queued"] += track.get("queue_objects", 0)
        for reason, count in (track.get("dropped") or {}).items():
            total["dropped"][reason] = total["dropped"].get(reason, 0) + count
    return total
