"""What `wtp chat` says beside the messages."""

from __future__ import annotations

from typing import Any

from wtp.ui.common import clean, counted, drops, number

Snapshot = dict[str, Any]


def announce(info: Snapshot) -> str:
    """Who talks where."""
    return f"Chatting as {clean(info['name'])} in room {clean(info['room'])} at {info['url']}."


def summary(snapshot: Snapshot) -> str:
    """What was said and read, every own line accounted for."""
    track = snapshot["session"].get("track") or {}
    said, receipted = number(track, "offered"), number(track, "delivered")
    parts = [f"{counted(said, 'line')} sent, {receipted:.0f} receipted"]
    if sum((track.get("dropped") or {}).values()):
        parts.append(f"dropped {drops(track['dropped'])}")
    parts.append(f"{counted(snapshot['read']['objects'], 'message')} read")
    return ", ".join(parts) + "."
