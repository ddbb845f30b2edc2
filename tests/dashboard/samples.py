"""Answers of routers, consumers and brokers, as the dashboard gets them."""

from __future__ import annotations

from typing import Any

from wtp.metrics import BUCKETS_MS

Values = dict[str, Any]

TRACK = "default/demo/video"


def buckets(**at: int) -> list[int]:
    """Counts per bucket: `b3=10` puts ten into the fourth."""
    counts = [0] * (len(BUCKETS_MS) + 1)
    for name, count in at.items():
        counts[int(name[1:])] = count
    return counts


def track(offered: int = 100, **more: Any) -> Values:
    """A track of a router's snapshot."""
    return {
        "kind": "video",
        "content_type": "video/h264",
        "topic": "persistent://public/default/video",
        "publisher_connected": True,
        "queued": 2,
        "last_seq": offered,
        "key_requests": 0,
        "receipt": {"n": offered, "mean_ms": 1.0, "buckets": buckets(b1=offered)},
        "offered": offered,
        "delivered": offered,
        "in_flight": 0,
        "dropped": {},
        "bytes": offered * 1000,
        **more,
    }


def router(offered: int = 100, uptime_s: float = 10.0, **more: Any) -> Values:
    """A router's snapshot."""
    tracks = more.pop("tracks", {TRACK: track(offered)})
    return {
        "status": "ok",
        "version": "0.1.0",
        "uptime_s": uptime_s,
        "sessions": 1,
        "connected": True,
        "broker": "pulsar://127.0.0.1:6650",
        "notes": {},
        "objects": {
            "offered": offered, "delivered": offered, "in_flight": 0, "dropped": {},
            "bytes": offered * 1000,
        },
        "tracks": tracks,
        "services": {},
        "refused": {},
        "transport": {},
        **more,
    }  # fmt: skip


def service(circuit: str = "closed") -> Values:
    """A kind's processors in a router's snapshot."""
    return {
        "in_flight": 1,
        "dropped": {"filtered": 3},
        "urls": {
            "http://127.0.0.1:8081/process": {
                "circuit": circuit,
                "in_flight": 1,
                "tries": {"answered": 42},
                "last_error": "",
                "p50_ms": 4.0,
                "p99_ms": 9.0,
            }
        },
    }


def latency(n: int = 50, **more: Any) -> Values:
    """A latency since the start."""
    return {"n": n, "p50_ms": 2.0, "p90_ms": 4.0, "p99_ms": 8.0, "max_ms": 9.0, **more}


def consumer(n: int = 50, **more: Any) -> Values:
    """A consumer's snapshot."""
    hops = {"encode->send": latency(n, p50_ms=0.5), "publish->receive": latency(n, p50_ms=1.5)}
    return {
        "state": "reading",
        "objects": n,
        "bytes": n * 1000,
        "latency": {"total": latency(n), "hops": hops, "last_ms": 2.5},
        "clock_error_ms": 0.25,
        "gaps": 0,
        "dropped": {"slow-output": 4},
        "in_flight": 1,
        "tracks": {
            TRACK: {"kind": "video", "fps": 30.0, "rate": 240_000, "gaps": 0, "latency": latency(n)}
        },
        **more,
    }


def topic_stats(count: int = 0) -> Values:
    """Pulsar's statistics of a topic."""
    return {
        "msgRateIn": 30.0,
        "msgRateOut": 60.0,
        "msgThroughputIn": 30_000.0,
        "msgInCounter": count,
        "msgOutCounter": 2 * count,
        "bytesInCounter": 1000 * count,
        "storageSize": 4096,
        "publishers": [{}],
        "subscriptions": {
            "fast": {"type": "Exclusive", "msgBacklog": 0, "consumers": [{}], "isDurable": False},
            "slow": {"type": "Shared", "msgBacklog": 7, "consumers": [], "msgRateOut": 1.5},
        },
    }


def present(state: str = "up", problem: str = "") -> Values:
    """What `Watched.presence` tells."""
    return {
        "state": state,
        "since_s": 12.0,
        "since": "2026-11-21T21:45:03Z",
        "problem": problem,
        "answer_ms": 1.0 if state == "up" else None,
    }


def row(p99_ms: float | None = 8.0, **more: Any) -> Values:
    """A track of the dashboard's snapshot."""
    return {
        "kind": "video",
        "router": "https://127.0.0.1:4433/wt",
        "topic": "persistent://public/default/video",
        "publisher_connected": True,
        "objects_s": 30.0,
        "bits_s": 2_610_000,
        "dropped_s": 0.0,
        "queued": 2,
        "in_flight": 1,
        "dropped": {"stale-group": 3},
        "receipt": {"n": 30, "p50_ms": 0.7, "p99_ms": 0.9},
        "latency": {
            "n": 1234, "p50_ms": 2.0, "p90_ms": 4.0, "p99_ms": p99_ms, "over": "second",
            "clock_error_ms": 0.0, "pid": 7,
        },
        "hops": {
            "encode->send": latency(p50_ms=0.5, share=0.25),
            "publish->receive": latency(p50_ms=1.5, share=0.75),
        },
        **more,
    }  # fmt: skip


def snapshot(state: str = "up", /, **tracks: Values) -> Values:
    """A dashboard's snapshot with one router in that state."""
    rows = tracks or {TRACK: row()}
    up = state == "up"
    figures = {
        "status": "ok", "version": "0.1.0", "uptime_s": 9.0, "sessions": 1, "tracks": len(rows),
        "broker": "pulsar://127.0.0.1:6650", "broker_connected": True, "objects_s": 30.0,
        "bits_s": 2_610_000, "dropped_s": 0.0, "queued": 2, "in_flight": 1, "receipt_p99_ms": 0.9,
    }  # fmt: skip
    past = {"objects_s": [28.0, None, 30.0], "bits_s": [1.0, 2.0, 3.0], "dropped_s": [0, 0, 0],
            "p50_ms": [1.0, 2.0, 4.0], "p99_ms": [4.0, None, 8.0],
            "last_ms": [None, 1.0, 2.5], "receipt_p99_ms": [0.5, 1.0, 0.9]}  # fmt: skip
    return {
        "at": 1.0,
        "elapsed_s": 61.0,
        "whole": {
            name: figures[name] if up else None
            for name in ("sessions", "tracks", "queued", "in_flight", "objects_s", "bits_s")
        } | {"dropped_s": None, "p50_ms": None, "p99_ms": None},
        "routers": [
            {
                "url": "https://127.0.0.1:4433/wt",
                **present(state, "" if up else "connect call failed"),
                **(figures if up else dict.fromkeys(figures)),
                "dropped": {}, "refused": {}, "notes": {},
                "processors": [
                    {"kind": "video", "url": "http://127.0.0.1:8081/process", "state": "open",
                     "in_flight": 1, "held": 0, "answered": 42, "p50_ms": 4.0, "p99_ms": None,
                     "dropped": {}, "problem": "time-out"}
                ] if up else [],
            }
        ],
        "rooms": {"default": {"tracks": 1, "publishers": 1, "objects_s": 30.0, "bits_s": 1.0},
                  "ops": {"tracks": 0, "publishers": 0, "objects_s": None, "bits_s": None}},
        "tracks": rows,
        "brokers": [
            {
                "url": "http://127.0.0.1:8080", **present(), "healthy": True, "health_ms": 1.5,
                "version": "0.1.0", "embedded": True, "topics": 1, "in_s": 30.0, "out_s": 60.0,
                "storage_bytes": 4096, "backlog": 7,
                "by_topic": {"persistent://public/default/video": {
                    "in_s": 30.0, "out_s": 60.0, "in_bits_s": 1, "storage_bytes": 4096,
                    "producers": 1, "backlog": 7,
                    "subscriptions": {"slow": {"backlog": 7}, "fast": {"backlog": 0}}}},
            }
        ],
        "processes": [
            {"role": "consume", "pid": 7, "room": "default", "url": "http://127.0.0.1:1",
             **present(), "does": "reading", "objects": 9, "objects_s": 30.0, "bits_s": 2_610_000,
             "queued": 0, "dropped": {"slow-output": 4}, "latency": latency(), "what": "",
             "clock_error_ms": 0.0, "gaps": 0},
            {"role": "publish", "pid": 8, "room": "default", "url": "http://127.0.0.1:2",
             **present("gone", "no answer within 3 s"), "does": "", "objects": None,
             "objects_s": None, "bits_s": None, "queued": None, "latency": None,
             "clock_error_ms": None, "gaps": None},
        ],
        "drops": {"router": {"stale-group": 3}, "consume": {"slow-output": 4}},
        "history": past,
        "track_history": dict.fromkeys(rows, past),
    }  # fmt: skip
