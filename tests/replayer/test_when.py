from __future__ import annotations

from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.errors import UsageError
from wtp.replayer.when import EARLIEST, Moment, read_moment, show_time

NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "back_us"),
    [
        ("-5m", 300_000_000),
        ("-1h30m", HOUR_US * 3 // 2),
        ("-500ms", 500_000),
        ("-1.5s", 1_500_000),
        ("-2d", 48 * HOUR_US),
        ("now", 0),
        ("latest", 0),
    ],
)
def test_times_before_now(text: str, back_us: int) -> None:
    assert read_moment(text, NOW_US) == Moment(NOW_US - back_us)


def test_earliest_and_messages() -> None:
    assert read_moment(" earliest ", NOW_US) == EARLIEST
    assert read_moment("12:34", NOW_US).place == (12, 34, -1)
    assert read_moment("12:34:5", NOW_US).place == (12, 34, 5)


@pytest.mark.parametrize(
    "text",
    ["2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00", "2027-01-15 08:00:00.000+00:00"],
)
def test_a_time_with_its_zone_needs_no_note(text: str) -> None:
    assert read_moment(text, NOW_US) == Moment(NOW_US)


def test_a_time_without_a_zone_is_local_and_says_so() -> None:
    zone = timezone(timedelta(hours=2))
    found = read_moment("2027-01-15T10:00:00", NOW_US, zone)
    assert found.at_us == NOW_US
    assert "2027-01-15T10:00:00+02:00" in found.note
    assert read_moment("2027-01-15T10:00:00", NOW_US).note


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "5m", "-", "-5", "-5x", "12:", ":5", "1:2:3:4", "-m", "1960-01-01T00:00Z",
     "2027-13-01", "--5m", "-5m-5m", "9" * 400],
)  # fmt: skip
def test_anything_else_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="LEDGER:ENTRY"):
        read_moment(text, NOW_US)


@given(st.text(max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    try:
        found = read_moment(text, NOW_US)
    except UsageError:
        return
    assert found == EARLIEST or found.position or (found.at_us or 0) >= 0


def test_times_for_people() -> None:
    assert show_time(NOW_US, UTC) == "2027-01-15T08:00:00.000+00:00"
    assert show_time(1 << 62, UTC).endswith(" us")
