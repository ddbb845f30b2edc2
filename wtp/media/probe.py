"""What a file or URL holds, and what this machine can do."""

from __future__ import annotations

from typing import Any

from wtp.media.address import masked
from wtp.media.container import OPEN_S, READ_S
from wtp.media.frames import av_errors
from wtp.media.libraries import Library, libraries, load_av
from wtp.media.source import DEFAULT_FPS, DEFAULT_SIZE

__all__ = ["Library", "libraries", "probe_source"]


def probe_source(spec: str) -> dict[str, Any]:
    """Describe a source without playing it; blocks, a URL for 10 s at most.

    Returns:
        `{"source", "format", "duration_s" (None when it has no end), "streams": [...]}`; a video
        stream has `{"type", "codec", "width", "height", "fps"}`, an audio stream
        `{"type", "codec", "rate_hz", "channels"}`, any other its type and codec.

    Raises:
        MediaError: It cannot be opened.
    """
    if spec == "testsrc":
        width, height = DEFAULT_SIZE
        video = {"type": "video", "codec": "raw", "width": width, "height": height}
        return {
            "source": spec,
            "format": "testsrc",
            "duration_s": None,
            "streams": [video | {"fps": DEFAULT_FPS}],
        }
    av = load_av()
    with (
        av_errors(f"{masked(spec)} cannot be opened", "Check the path or the URL."),
        av.open(spec, timeout=(OPEN_S, READ_S)) as container,
    ):
        length = container.duration
        return {
            "source": masked(spec),
            "format": container.format.name,
            "duration_s": None if length is None else length / av.time_base,
            "streams": [_describe(stream) for stream in container.streams],
        }


def _describe(stream: Any) -> dict[str, Any]:
    context = stream.codec_context
    found: dict[str, Any] = {"type": stream.type, "codec": context.name if context else "unknown"}
    if stream.type == "video":
        rate = stream.average_rate or stream.guessed_rate
        found |= {"width": context.width, "height": context.height}
        found["fps"] = round(float(rate), 3) if rate else None
    elif stream.type == "audio":
        found |= {"rate_hz": context.sample_rate, "channels": context.layout.nb_channels}
    return found
