"""From messages of a room to what goes into a container: objects with times, chat as text."""

from __future__ import annotations

from collections.abc import Mapping

from wtp.consumer.item import OCTETS, guess_type, split_track
from wtp.consumer.output import escape
from wtp.consumer.ports import Message
from wtp.media.mux_track import Piece

NOT_OURS = "not-wtp"
DAMAGED = "damaged"

_MEDIA = frozenset({"video", "screen", "audio"})
_SCRIPT = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""What WebVTT reads as markup (W3C WebVTT, section 6.4)."""


def piece_of(message: Message, at_us: int) -> tuple[Piece | None, bool, str]:
    """An object as a container takes it.

    Args:
        message: As it came.
        at_us: When it was captured, as far as is known; Unix µs.

    Returns:
        The piece and whether it is a text; or None and why it is left out.
    """
    properties = message.properties
    kind = properties.get("kind", "")
    if properties.get("wtp") != "1":
        return None, False, NOT_OURS
    text = kind == "chat"
    if not text and kind not in _MEDIA:
        return None, False, "other-kind"
    publisher, name = split_track(message.key)
    try:
        seq, duration_us = int(properties["seq"]), int(properties.get("duration_us", "0"))
    except (KeyError, ValueError):
        return None, False, DAMAGED
    payload, content_type = message.payload, properties.get("content_type", "")
    if content_type in ("", OCTETS) and not text:
        content_type = guess_type(payload, message.topic)
    if text:
        payload = chat_text(properties, publisher, payload).encode()
    piece = Piece(
        f"{publisher}/{name}" if publisher else name,
        content_type,
        payload,
        properties.get("key") == "1",
        at_us,
        duration_us,
        seq,
        properties.get("instance", ""),
    )
    return piece, text, ""


def chat_text(properties: Mapping[str, str], publisher: str, payload: bytes) -> str:
    """A chat message as it is shown under a picture: `author: text`, without empty lines."""
    author = properties.get("author") or publisher or "unknown"
    lines = payload.decode("utf-8", "replace").splitlines()
    return "\n".join(
        escape(line) for line in (f"{author}: {line}" if not n else line
                                  for n, line in enumerate(lines or [""])) if line.strip()
    )  # fmt: skip


def as_script(text: str) -> str:
    """A text for WebVTT, in which some characters are markup."""
    return "".join(_SCRIPT.get(c, c) for c in text)
