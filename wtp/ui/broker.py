"""What `wtp broker` says."""

from __future__ import annotations

from typing import Any

from wtp.ui.common import clean, counted, number, seconds, size

Snapshot = dict[str, Any]


def announce(info: Snapshot) -> str:
    """Where the broker listens, where its data is, and what it found damaged there."""
    lines = [
        "Embedded broker: for one machine - development, tests, demos, small installations.",
        f"broker     {clean(info.get('url', ''))}",
        f"admin      {clean(info.get('admin', ''))}",
        f"data       {clean(info.get('data', ''))} (fsync {clean(info.get('fsync', ''))})",
    ]
    lines += [f"damage     {clean(sentence)}" for sentence in info.get("damage") or []]
    return "\n".join(lines)


def line(snapshot: Snapshot) -> str:
    """The broker in one line."""
    return (
        f"{counted(number(snapshot, 'connections'), 'connection')}, "
        f"{counted(number(snapshot, 'topics'), 'topic')}, "
        f"{counted(number(snapshot, 'producers'), 'producer')}, "
        f"{counted(number(snapshot, 'consumers'), 'consumer')}, "
        f"in {counted(number(snapshot, 'messages_in_total'), 'message')} "
        f"({size(number(snapshot, 'bytes_in_total'))}), "
        f"out {number(snapshot, 'messages_out_total'):.0f}"
    )


def summary(snapshot: Snapshot) -> str:
    """The broker at its end."""
    return f"broker ran {seconds(number(snapshot, 'uptime_s'))}: {line(snapshot)}"
