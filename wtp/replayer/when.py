"""Moments as people write them: `-5m`, RFC 3339, `LEDGER:ENTRY`, `earliest`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from wtp.consumer.item import Place, read_place
from wtp.errors import UsageError

_UNITS_US = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_PART = r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)"
_BACK = re.compile(rf"-(?:{_PART})+")
_POSITION = re.compile(r"\d{1,18}:\d{1,18}(:\d{1,9})?")
HINT = (
    "Write -5m or -1h30m, a time with its zone such as 2026-11-21T14:30:00Z, "
    "LEDGER:ENTRY of one topic, or earliest."
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in the past of a room.

    Attributes:
        at_us: Unix µs; None for `earliest` and for a message.
        position: `ledger:entry[:batch]` of a message; empty for a time.
        note: What was assumed about it, for people; empty for nothing.
        about: Whether it does no harm when less than that is kept.
    """

    at_us: int | None = None
    position: str = ""
    note: str = ""
    about: bool = False

    @property
    def place(self) -> Place | None:
        """The position as numbers that sort; None for a time."""
        return read_place(self.position) if self.position else None


EARLIEST = Moment()

NEVER_US = 1 << 62
"""A time that does not come."""


def read_moment(text: str, now_us: int, zone: tzinfo | None = None) -> Moment:
    """Read a moment.

    Args:
        text: What was written.
        now_us: Now, Unix µs.
        zone: Zone of a time without one; None for that of this machine.

    Raises:
        UsageError: It is none.
    """
    text = text.strip()
    if text == "earliest":
        return EARLIEST
    if text in ("now", "latest"):
        return Moment(now_us)
    if _BACK.fullmatch(text):
        parts = re.findall(_PART, text)
        back_us = sum(float(number) * _UNITS_US[unit] for number, unit in parts)
        return Moment(max(0, now_us - int(back_us)))
    if _POSITION.fullmatch(text):
        return Moment(position=text)
    return _read_time(text, zone)


def _read_time(text: str, zone: tzinfo | None) -> Moment:
    try:
        when = datetime.fromisoformat(text)
        note = ""
        if when.tzinfo is None:
            when = when.replace(tzinfo=zone) if zone else when.astimezone()
            note = f"{text} has no zone and is taken as local time: {when.isoformat()}."
        at_us = int(when.timestamp() * 1_000_000)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{text[:60]!r} is no time and no message.", hint=HINT) from None
    if at_us < 0:
        raise UsageError(f"{text!r} lies before 1970.", hint=HINT)
    return Moment(at_us, note=note)


def show_time(at_us: int, zone: tzinfo | None = None) -> str:
    """A time for people, local unless a zone is given, with ms and zone."""
    try:
        when = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return f"{at_us} us"
    return when.isoformat(timespec="milliseconds")
