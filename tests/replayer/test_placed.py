from __future__ import annotations

import json

import pytest

from tests.replayer.fakes import T0_US, FakeMessage, foreign, message
from wtp.replayer.placed import (
    REPLAY_COLUMNS,
    Placed,
    PlacedBy,
    csv_line,
    json_line,
    place_in_time,
    played,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (message(T0_US), (T0_US, "capture")),
        (message(T0_US, captured=False, delay_us=7_000), (T0_US + 7_000, "publish")),
        (foreign(17, event_ms=15), (15_000, "event")),
        (foreign(17), (17_000, "publish")),
        (FakeMessage("t", "", {"capture_us": "5"}, b"", 17, 0, "1:0"), (17_000, "publish")),
        (
            FakeMessage("t", "", {"wtp": "1", "capture_us": "9" * 30}, b"", 17, 0, "1:0"),
            (17_000, "publish"),
        ),
    ],
)
def test_the_best_time_known_places_a_message(
    given: FakeMessage, expected: tuple[int, PlacedBy]
) -> None:
    assert place_in_time(given) == expected


def test_lines_say_where_an_object_was_placed_and_why() -> None:
    item = played(Placed(message(T0_US, 7), T0_US, "capture", False))
    values = json.loads(json_line(item))
    assert (values["seq"], values["at_us"], values["placed_by"]) == (7, T0_US, "capture")
    assert values["latency_us"] is None
    assert values["receive_us"] is None
    line = csv_line(item).split(",")
    assert len(line) == len(REPLAY_COLUMNS)
    assert line[-2:] == [str(T0_US), "capture"]


def test_a_foreign_message_has_a_line_too() -> None:
    values = json.loads(json_line(played(Placed(foreign(17), 17_000, "publish", True))))
    assert (values["placed_by"], values["seq"], values["live"]) == ("publish", None, True)
