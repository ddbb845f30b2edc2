"""What the command says."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from wtp.ui.level import meter
from wtp.ui.publish import announce, line, screen, summary

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
    "clock": {"state": "shared", "offset_us": 0, "error_us": 0, "drift_ppm": 0, "resyncs": 0},
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
    assert "shared with the router, error 0 ms" in text


def test_a_measured_clock_is_told_with_its_error() -> None:
    clock = {
        "state": "measured", "offset_us": -1_234_567, "error_us": 213, "drift_ppm": 31.2,
        "drift_error_ppm": 60.4, "exchanges": 45, "resyncs": 0,
    }  # fmt: skip
    measured = {**SNAPSHOT, "clock": clock}
    said = "offset -1234.567 ms ± 0.213 ms, drift +31 ± 60 ppm, 45 exchanges"
    assert summary(measured).endswith(said)
    assert "clock ± 0.21 ms" in line(measured)
    far = {**clock, "offset_us": 94_608_000_000_123, "drift_ppm": None, "resyncs": 2}
    text = summary({**SNAPSHOT, "clock": far})
    assert "offset +94,608,000.000 s ± 0.213 ms, drift unknown" in text
    assert text.endswith("2 resyncs")
    unknown = {**SNAPSHOT, "clock": {**clock, "state": "unknown", "offset_us": None, "resyncs": 1}}
    unknown["clock"]["error_us"] = None
    assert summary(unknown).endswith("unknown, 1 resync")
    assert "clock unknown" in line(unknown)


def test_a_publisher_without_a_router_has_its_own_clock() -> None:
    assert summary({**SNAPSHOT, "clock": "own"}).endswith("own, error 0 ms")


def test_names_from_outside_cannot_steer_the_terminal() -> None:
    text = announce({"name": "a\x1b[2J", "url": "u", "room": "r", "tracks": {"v": {"source": "s"}}})
    assert "\x1b" not in text
    assert "r/a?[2J/v" in text


def test_a_run_under_a_second_has_no_rate() -> None:
    assert "/s" not in summary({**SNAPSHOT, "uptime_s": 0.9})


MICROPHONE: dict[str, Any] = {
    **TRACK, "kind": "audio", "fps": 100.0, "level_db": -24.0, "denoise": "webrtc",
    "denoise_ms": 10.0, "state": "live",
}  # fmt: skip


def test_a_microphone_shows_its_level_and_the_delay_of_denoising() -> None:
    text = line({**SNAPSHOT, "tracks": {"audio": MICROPHONE}})
    assert "100.0 /s" in text
    assert "[#######-----] -24 dB" in text
    assert "denoise webrtc +10 ms" in text
    plain = line({**SNAPSHOT, "tracks": {"audio": {**MICROPHONE, "denoise": "off"}}})
    assert "denoise" not in plain


def test_a_microphone_that_is_lost_has_no_level() -> None:
    text = line({**SNAPSHOT, "tracks": {"audio": {**MICROPHONE, "state": "lost"}}})
    assert "MICROPHONE LOST" in text
    assert "dB" not in text


def test_a_reduced_bit_rate_is_shown_with_its_reason() -> None:
    steered = {"target_bitrate_bps": 800_000, "every_nth": 2, "limited_by": "delay"}
    text = line({**SNAPSHOT, "tracks": {"video": {**TRACK, **steered}}})
    assert "2.48 Mbit/s down to 800 kbit/s, 1 of 2 pictures (delay)" in text
    free = {"target_bitrate_bps": 2_500_000, "every_nth": 1, "limited_by": ""}
    assert "down to" not in line({**SNAPSHOT, "tracks": {"video": {**TRACK, **free}}})


def test_the_screen_has_a_row_per_track_and_a_bar_for_files() -> None:
    transfer = {
        "files": 2, "done": 1, "name": "b\x1b[2J", "bytes": 50, "total_bytes": 100,
        "bytes_per_s": 25.0,
    }  # fmt: skip
    tracks = {"audio": MICROPHONE, "file": {"kind": "file", "transfer": transfer}}
    console = Console(width=100, file=StringIO())
    console.print(screen({**SNAPSHOT, "tracks": tracks}))
    assert isinstance(console.file, StringIO)
    rows = console.file.getvalue().splitlines()
    assert rows[0].startswith("live | round trip")
    assert rows[1].startswith("audio 100.0 /s")
    assert any("50 %" in row for row in rows[2:])
    assert "1 of 2 files" in line({**SNAPSHOT, "tracks": tracks})
    assert "\x1b" not in line({**SNAPSHOT, "tracks": tracks})


@pytest.mark.parametrize(
    ("level_db", "shown"),
    [
        (-96.0, "[------------] -96 dB"),
        (-60.0, "[------------] -60 dB"),
        (-30.0, "[######------] -30 dB"),
        (-3.0, "[###########!] -3 dB"),
        (0.0, "[###########!] 0 dB"),
        (6.0, "[###########!] 6 dB"),
    ],
)
def test_the_meter(level_db: float, shown: str) -> None:
    assert meter(level_db) == shown
