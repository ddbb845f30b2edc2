"""Messages put on the time line of a room: by capture time, or what comes next best."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Literal, NamedTuple

from wtp.consumer.item import Item, describe, read_object
from wtp.consumer.output import CSV_COLUMNS, escape
from wtp.replayer.ports import Message

REPLAY_COLUMNS = (*CSV_COLUMNS, "replayed", "at_us", "placed_by")
"""Columns of a line of CSV: those of `wtp consume`, and where on the time line it lies."""

PlacedBy = Literal["capture", "event", "publish"]
"""Which time a message was placed by: its capture stamp; its event time; its publish time."""


class Placed(NamedTuple):
    """A message on the time line, not parsed: who only counts or copies needs no more.

    Attributes:
        message: As it came.
        at_us: Where it lies, Unix µs.
        placed_by: Which of its times that is.
        live: Whether it came after the past was played to its end.
    """

    message: Message
    at_us: int
    placed_by: PlacedBy
    live: bool


def place_in_time(message: Message) -> tuple[int, PlacedBy]:
    """Where a message lies on the time line, Unix µs, and which of its times says so."""
    properties = message.properties
    text = properties.get("capture_us", "")
    if properties.get("wtp") == "1" and text.isdecimal() and len(text) < 19:
        return int(text), "capture"
    if message.event_ms > 0:
        return message.event_ms * 1000, "event"
    return message.publish_ms * 1000, "publish"


@dataclass(frozen=True, slots=True)
class Played(Item):
    """An object of the past, as outputs get it.

    Attributes:
        at_us: Where it lies on the time line, Unix µs.
        placed_by: Which of its times that is.
    """

    at_us: int = 0
    placed_by: PlacedBy = "publish"


def played(placed: Placed) -> Played:
    """Read a message as an object. Its arrival here says nothing about latency."""
    message, at_us, placed_by, live = placed
    obj, fault = read_object(message)
    return Played(
        message=message,
        track=message.key,
        kind=obj.kind.value if obj else "",
        obj=obj,
        fault=fault,
        instance=message.properties.get("instance", "") if obj else "",
        live=live,
        receive_us=None,
        clock_error_us=None,
        at_us=at_us,
        placed_by=placed_by,
    )


def describe_played(item: Item) -> dict[str, object]:
    """An object as plain values for a line: those of `wtp consume`, and where it was placed."""
    values = describe(item)
    if isinstance(item, Played):
        values["at_us"], values["placed_by"] = item.at_us, item.placed_by
    return values


def json_line(item: Item) -> str:
    """An object as JSON, in ASCII: a terminal shows it without harm."""
    return json.dumps(describe_played(item), separators=(",", ":"))


def csv_line(item: Item) -> str:
    """An object as comma-separated values, in the order of `REPLAY_COLUMNS`."""
    values = describe_played(item)
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        _field(values.get(column)) for column in REPLAY_COLUMNS
    )
    return line.getvalue()


def _field(value: object) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else escape(str(value))
