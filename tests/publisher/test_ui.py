"""What the command says."""

from __future__ import annotations

from typing import Any

from wtp.ui.publish import announce, line, summary

TRACK: dict[str, Any] = {
    "kind": "video",
    "offered": 300,
    "delivered": 290,
    "in_flight": 0,
    "dropped": {"queue": 10, "stale-group": 0},
    "bytes": 3_000_000,
    "fps": 29.97,
    "bitrate_bps": 2_480_000,
    "queue_objects": 3,
    "router": {"dropped": 2},
}
SNAPSHOT: dict[str, Any] = {
    "name": "cam",
    "state": "live",
    "rtt_ms": 0.42,
    "reconnects": 1,
    "uptime_s": 10.0,
    "clock": "shared",
    "clock_error_us": 0,
    "tracks": {"video": TRACK},
}


def test_the_line_has_rate_round_trip_queue_and_drops_by_reason() -> None:
    text = line(SNAPSHOT)
    for part in ("live", "0.42 ms", "30.0 fps", "2.48 Mbit/s", "queue 3", "10 (queue 10)"):
        assert part in text
    assert "at the router 2" in text
    assert "\n" not in text


def test_the_line_before_anything_is_known() -> None:
    assert line({"state": "opening", "tracks": {}}) == "opening"


def test_the_summary_accounts_for_every_object() -> None:
    text = summary(SNAPSHOT)
    assert "300 = 290 delivered + 10 dropped + 0 in flight" in text
    assert "30.0/s" in text
    assert "1 reconnect\n" in text
    assert "error 0.000 ms" in text
    assert "unknown" in summary({**SNAPSHOT, "clock_error_us": None})


def test_names_from_outside_cannot_steer_the_terminal() -> None:
    text = announce({"name": "a\x1b[2J", "url": "u", "room": "r", "tracks": {"v": {"source": "s"}}})
    assert "\x1b" not in text
    assert "r/a?[2J/v" in text


def test_a_run_under_a_second_has_no_rate() -> None:
    assert "/s" not in summary({**SNAPSHOT, "uptime_s": 0.9})
