"""Figures as text, and the router's line."""

from __future__ import annotations

import pytest

from wtp.ui.common import bits, counted, size
from wtp.ui.router import line


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [
        (1, "1 B"),
        (1023, "1023 B"),
        (1023.7, "1 KiB"),
        (1500, "1.46 KiB"),
        (999.7 * 1024, "1000 KiB"),
        (1020 * 1024, "1020 KiB"),
        (1023.9 * 1024, "1 MiB"),
        (3.2 * 2**20, "3.2 MiB"),
        (5000 * 2**40, "5000 TiB"),
    ],
)
def test_sizes_are_never_written_with_an_exponent(count_bytes: float, text: str) -> None:
    assert size(count_bytes) == text


def test_bit_rates_are_never_written_with_an_exponent() -> None:
    assert bits(999_700) == "1 Mbit/s"
    assert bits(999.9) == "1 kbit/s"
    assert bits(2_480_000) == "2.48 Mbit/s"


def test_one_is_singular() -> None:
    assert [counted(n, "track") for n in (0, 1, 2)] == ["0 tracks", "1 track", "2 tracks"]


def test_the_state_of_the_broker_and_the_drops_fit_into_the_routers_line() -> None:
    dropped = {"queue": 300, "stale-group": 100, "no-session": 50, "broker-down": 1000}
    snapshot = {
        "sessions": 1,
        "tracks": {"a": {"queued": 3}},
        "objects": {"offered": 1, "dropped": dropped},
        "connected": False,
    }
    shown = line(snapshot)[:79]
    assert "BROKER DOWN" in shown
    assert "1 session, 1 track, 1 object, queue 3, dropped 1450 (" in shown
