"""Chat messages as text for people: when, who, what, and nothing that could steer a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from wtp.clock import wall_us
from wtp.consumer.item import Item, split_track
from wtp.consumer.output import escape

INDENT = "\n    "
"""Between the lines of one chat message."""

ACTION = "action"
"""Value of the attribute `style` of a chat message that tells what its author does (`/me`)."""


def chat_line(item: Item) -> str:
    """A chat message as `14:03:22 author: text`, with nothing that could steer a terminal.

    Further lines of a message are indented, so that none looks like a message of its own.
    """
    return message_text(item.message.payload, author_of(item), time_of(item), style_of(item))


def message_text(payload: bytes, author: str, time: str, style: str = "") -> str:
    """A chat message for people, out of its parts.

    Args:
        payload: The text as UTF-8.
        author: Who says so.
        time: As `time_of` gives it; empty when unknown.
        style: `action` for what the author does rather than says.
    """
    text = payload.decode("utf-8", "backslashreplace").rstrip("\r\n").expandtabs(4)
    first, *more = [escape(line.removesuffix("\r")) for line in text.split("\n")]
    head = f"* {escape(author)} {first}" if style == ACTION else f"{escape(author)}: {first}"
    return INDENT.join([f"{time} {head}" if time else head, *more])


def author_of(item: Item) -> str:
    """Who said it: the author it names, else its publisher."""
    author = item.obj.attributes.get("author", "") if item.obj else ""
    publisher, name = split_track(item.track)
    return author or publisher or name or "unknown"


def style_of(item: Item) -> str:
    """How a chat message is meant: `action`, or empty."""
    return item.obj.attributes.get("style", "") if item.obj else ""


def time_of(item: Item) -> str:
    """When a message was sent, local time, with the day unless that is today; empty if unknown."""
    times_us = (item.stamp("capture_us"), item.message.publish_ms * 1000)
    return next((shown for at_us in times_us if at_us and (shown := local_time(at_us))), "")


def local_time(at_us: int) -> str:
    """A moment, Unix µs, as `14:03:22`, or `2026-11-20 14:03:22` when it is not today."""
    try:
        at = datetime.fromtimestamp(at_us / 1e6, tz=UTC).astimezone()
    except (OverflowError, OSError, ValueError):
        return ""
    today = datetime.fromtimestamp(wall_us() / 1e6, tz=UTC).astimezone().date()
    return at.strftime("%H:%M:%S" if at.date() == today else "%Y-%m-%d %H:%M:%S")
