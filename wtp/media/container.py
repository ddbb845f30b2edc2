"""Opening a file, a URL or standard input with PyAV, and what is read off its streams."""

from __future__ import annotations

import os
import select
import sys
import threading
from fractions import Fraction
from typing import Any

from wtp.errors import MediaError
from wtp.media.address import is_url
from wtp.media.frames import av_errors
from wtp.media.libraries import load_av

OPEN_S, READ_S = 10.0, 10.0
"""How long a URL may take to open, and to deliver the next bytes."""
LIVE_READ_S = 2.5
"""Half of how long RTSP may be silent before it counts as lost: FFmpeg waits twice."""

_POLL_S = 0.1

UNAUTHORIZED, OTHER_CODEC = "unauthorized", "codec"
"""Error codes of a source that refuses user name and password, and of one whose codec is no use:
both do not pass by trying again."""


def open_container(spec: str, name: str, closed: threading.Event) -> Any:
    """Open a source; blocks, a URL for `OPEN_S` at most.

    Args:
        spec: Path, URL, or `-`.
        name: The same for people, without passwords.
        closed: Ends a read of standard input.

    Returns:
        The `av` container.

    Raises:
        MediaError: It cannot be opened.
    """
    av = load_av()
    target = _StandardInput(closed) if spec == "-" else spec
    url = is_url(spec)
    what = "URL, and that its server runs" if url else "path"
    hint = f"Check the {what}; `wtp publish --source testsrc` needs no file."
    with av_errors(f"{name} cannot be opened", hint):
        try:
            return av.open(
                target,
                options=_options(spec),
                timeout=(OPEN_S, LIVE_READ_S if spec.startswith("rtsp") else READ_S),
            )
        except (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError) as error:
            raise MediaError(
                f"{name} does not let us in: user name or password is wrong.",
                hint="Write them into the URL: rtsp://USER:PASSWORD@HOST/PATH; special "
                "characters in them as %XX.",
                code=UNAUTHORIZED,
            ) from error
        except av.error.InvalidDataError as error:
            raise MediaError(
                f"{name} cannot be opened: it is no video, or damaged.",
                hint="Try it with ffprobe; `wtp publish --source testsrc` needs no file.",
            ) from error


def chosen(container: Any, wanted: tuple[str, ...]) -> dict[str, Any]:
    """The first stream of each wanted type; cover pictures of sound files are none."""
    found: dict[str, Any] = {}
    for stream in container.streams:
        if stream.type in wanted and not (stream.type == "video" and _is_cover(stream)):
            found.setdefault(stream.type, stream)
    return found


def told_us(container: Any, streams: dict[str, Any]) -> int:
    """How long a container says that these streams of it are, in µs; 0 when it does not say."""
    lengths = [s.duration * s.time_base for s in streams.values() if s.duration and s.time_base]
    if lengths:
        return int(max(lengths) * 1_000_000)
    others = [s for s in container.streams if s not in streams.values()]
    return 0 if others else int(container.duration or 0)


class _StandardInput:
    """Standard input for PyAV: a read that `close` ends, unlike FFmpeg's own of a pipe."""

    def __init__(self, closed: threading.Event) -> None:
        if sys.stdin is None:
            raise MediaError(
                "Standard input is closed.", hint="Give the video with `<FILE` or a pipe."
            )
        self._closed = closed
        self._descriptor = sys.stdin.fileno()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end or when closed."""
        while not self._closed.is_set():
            ready, _, _ = select.select([self._descriptor], [], [], _POLL_S)
            if ready:
                return os.read(self._descriptor, size)
        return b""


def _options(spec: str) -> dict[str, str]:
    """FFmpeg's options: little delay for what may be live, and RTSP over TCP.

    By its own defaults FFmpeg counts pictures a second before it opens: RTSP takes 1.8 s instead of
    0.5 s, raw H.264 of a live pipe 3 s instead of 0.6 s, and that stays as delay.
    """
    if spec == "-":
        return {"fpsprobesize": "0", "analyzeduration": "500000"}
    if not is_url(spec) or spec.startswith(("http://", "https://", "file:")):
        return {}
    quick = {"fpsprobesize": "0", "analyzeduration": "2000000"}
    return quick | ({"rtsp_transport": "tcp"} if spec.startswith("rtsp") else {})


def _is_cover(stream: Any) -> bool:
    """Whether it is the cover picture of a sound file, which FFmpeg also calls a video stream."""
    return bool(stream.disposition & load_av().stream.Disposition.attached_pic)


def picture_interval(stream: Any) -> Fraction:
    """Nominal time between two pictures in seconds."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return 1 / Fraction(min(max(rate, Fraction(1, 10)), Fraction(1000)))


def interval(stream: Any) -> Fraction:
    """Nominal length of a unit in seconds: of a picture by its rate, of sound a guess."""
    return picture_interval(stream) if stream.type == "video" else Fraction(1, 50)
