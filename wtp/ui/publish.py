"""What `wtp publish` says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from wtp.ui.clock import clock_words
from wtp.ui.common import UNKNOWN, bits, clean, counted, drops, identity, ms, number, seconds, size
from wtp.ui.level import meter
from wtp.ui.transfer import sending, sending_line

Snapshot = dict[str, Any]

STATES = {
    "opening": "opening",
    "connecting": "CONNECTING",
    "live": "live",
    "reconnecting": "RECONNECTING",
    "closed": "closed",
}


def announce(info: Snapshot) -> str:
    """Where it publishes to, and what."""
    lines = [f"publishing as {clean(info.get('name'))} to {clean(info.get('url'))}"]
    for name, track in (info.get("tracks") or {}).items():
        about = [clean(track.get(key)) for key in ("source", "size", "content_type")]
        topic = f"{clean(info.get('room'))}/{clean(info.get('name'))}/{clean(name)}"
        lines.append(f"track  {topic}  {', '.join(a for a in about if a != 'None')}")
    return "\n".join(lines)


def line(snapshot: Snapshot) -> str:
    """The publisher in one line: state, round trip, then each track."""
    tracks = (snapshot.get("tracks") or {}).items()
    return " | ".join([session_line(snapshot), *(track_line(*track) for track in tracks)])


def screen(snapshot: Snapshot) -> RenderableType:
    """The publisher on a terminal: a row for the session and one per track, bars for files."""
    rows: list[RenderableType] = [Text(session_line(snapshot), no_wrap=True)]
    for name, track in (snapshot.get("tracks") or {}).items():
        if track.get("transfer"):
            rows += [Text(clean(name)), sending(track["transfer"])]
        else:
            rows.append(Text(track_line(name, track), no_wrap=True, overflow="ellipsis"))
    return Group(*rows)


def session_line(snapshot: Snapshot) -> str:
    """State, round trip, reconnections."""
    parts = [STATES.get(str(snapshot.get("state")), UNKNOWN)]
    if snapshot.get("rtt_ms"):
        parts.append(f"round trip {ms(snapshot['rtt_ms'])}")
    if snapshot.get("reconnects"):
        parts.append(f"reconnects {snapshot['reconnects']}")
    clock = snapshot.get("clock")
    if isinstance(clock, Mapping) and clock.get("state") != "shared":
        error_us = clock.get("error_us")
        parts.append(f"clock {UNKNOWN if error_us is None else f'± {ms(error_us / 1000)}'}")
    return " | ".join(parts)


def track_line(name: str, track: Mapping[str, Any]) -> str:
    """A track's figures: level, rate, bit rate, queue, drops here and at the router.

    Of files it is how far they are.
    """
    if track.get("transfer"):
        return f"{clean(name)} {sending_line(track['transfer'])}"
    unit = "fps" if track.get("kind") in ("video", "screen") else "/s"
    parts = [
        f"{clean(name)} {number(track, 'fps'):.1f} {unit}",
        bits(number(track, "bitrate_bps")) + _limit(track),
        *_sound(track),
        f"queue {number(track, 'queue_objects'):.0f}",
        f"dropped {drops(track.get('dropped'))}",
    ]
    at_router = number(track.get("router") or {}, "dropped")
    if at_router:
        parts.append(f"at the router {at_router:.0f}")
    return ", ".join(parts)


def _limit(track: Mapping[str, Any]) -> str:
    """What congestion leaves of the bit rate and the pictures; empty when it leaves all."""
    if not track.get("limited_by"):
        return ""
    text = f" down to {bits(number(track, 'target_bitrate_bps'))}"
    every = number(track, "every_nth")
    if every > 1:
        text += f", 1 of {every:.0f} pictures"
    return f"{text} ({clean(track['limited_by'])})"


def _sound(track: Mapping[str, Any]) -> Iterator[str]:
    """Level of a microphone, whether it is there, and what noise suppression costs."""
    if track.get("state") == "lost":
        yield "MICROPHONE LOST"
    elif isinstance(track.get("level_db"), (int, float)):
        yield meter(number(track, "level_db"))
    if track.get("denoise") not in (None, "", "off"):
        yield f"denoise {clean(track['denoise'])} +{number(track, 'denoise_ms'):.0f} ms"
    if number(track, "overruns"):
        yield f"overruns {number(track, 'overruns'):.0f}"


def summary(snapshot: Snapshot) -> str:
    """The publisher at its end: every object accounted for."""
    ran_s = number(snapshot, "uptime_s")
    lines = [f"published {seconds(ran_s)} as {clean(snapshot.get('name'))}"]
    if snapshot.get("reconnects"):
        lines[0] += f", {counted(snapshot['reconnects'], 'reconnect')}"
    for name, track in (snapshot.get("tracks") or {}).items():
        sent = number(track, "bytes")
        rate = f", {number(track, 'offered') / ran_s:.1f}/s" if ran_s >= 1 else ""
        lines.append(f"{clean(name):<10} {identity(track)}, {size(sent)}{rate}")
        if sum((track.get("dropped") or {}).values()):
            lines.append(f"{'dropped':<10} {drops(track['dropped'])}")
        if track.get("transfer"):
            lines.append(f"{'':<10} {sending_line(track['transfer'])}")
        at_router = number(track.get("router") or {}, "dropped")
        if at_router:
            lines.append(f"{'':<10} the router dropped {at_router:.0f} more")
    if clock := snapshot.get("clock"):
        words = clock_words(clock) if isinstance(clock, Mapping) else f"{clean(clock)}, error 0 ms"
        lines.append(f"{'clock':<10} {words}")
    return "\n".join(lines)
