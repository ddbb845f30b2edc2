"""Asking a router for a key frame, so that whoever joins need not decode a long group."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import Fingerprint

MANY = 90
"""Pictures behind a key frame from which on asking is quicker than decoding: a tenth of a second's
work at 640x480."""
TIMEOUT_S = 1.0
GOOD = (202, 429)
"""Asked, or asked by somebody else just now."""

LOGGER = logging.getLogger("wtp.consumer")


async def shorten(
    behind: Counter[str], router: str, trust: SSLContext | Fingerprint | bool
) -> None:
    """Ask for key frames of the tracks that take long to catch up with.

    Args:
        behind: Pictures of each track that lead to the present.
        router: Any URL of the router.
        trust: How its certificate is checked, as aiohttp's `ssl`.
    """
    for track in (track for track, count in behind.items() if count > MANY):
        problem = await ask_key_frame(router, track, trust=trust)
        if problem:
            LOGGER.info("No key frame of %s was asked for: %s.", track, problem)


def keyframe_url(router: str, track: str) -> str:
    """Where to ask for a key frame.

    Args:
        router: Any URL of the router.
        track: Full name, `<room>/<publisher>/<name>`.
    """
    room, publisher, name = (quote(part, safe="") for part in track.split("/", 2))
    path = f"/rooms/{room}/tracks/{publisher}/{name}/keyframe"
    return urlunsplit((*urlsplit(router)[:2], path, "", ""))


async def ask_key_frame(
    router: str, track: str, *, trust: SSLContext | Fingerprint | bool = True
) -> str:
    """Ask the router of a track.

    Args:
        router: Any URL of the router.
        track: Full name.
        trust: How its certificate is checked, as aiohttp's `ssl`.

    Returns:
        What went wrong, empty when a key frame is on its way.
    """
    from aiohttp import ClientError, ClientSession, ClientTimeout

    if track.count("/") != 2:
        return f"{track!r} is no track of a router"
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=TIMEOUT_S)) as session,
            session.post(keyframe_url(router, track), ssl=trust) as answer,
        ):
            return "" if answer.status in GOOD else f"status {answer.status}"
    except (ClientError, OSError, TimeoutError) as error:
        return str(error) or type(error).__name__
