"""Which container a recording goes into, what it holds, and which one to take instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from wtp.errors import MediaError, UsageError

FRAGMENT_MS = 1000
"""What is written to disk at a time: a kill loses as much at most."""

_LATE_US = 200_000
"""How long libavformat holds an object back for one of another track with an earlier time."""


@dataclass(frozen=True, slots=True)
class Container:
    """A file format that takes several tracks.

    Attributes:
        name: What people call it.
        format: libavformat's name of its muxer.
        codecs: libavcodec's names of what it holds here: less than what libavformat would write,
            since players have to open it.
        subtitle: Codec of its text track; empty for none.
        options: Of the muxer.
        seekable: Whether its end is completed by going back to its start.
        max_objects: A new file is begun after so many: its index is held in memory; 0 for no limit.
        step_us: Its precision: how far the times of two objects of a track lie apart at least.
    """

    name: str
    format: str
    codecs: frozenset[str]
    subtitle: str
    options: Mapping[str, str]
    seekable: bool = True
    step_us: int = 1
    max_objects: int = 0


_ALWAYS = {"flush_packets": "1", "max_interleave_delta": str(_LATE_US)}
_CLUSTERS = {**_ALWAYS, "cluster_time_limit": str(FRAGMENT_MS)}

MP4 = Container(
    "mp4",
    "mp4",
    frozenset({"h264", "hevc", "vp9", "av1", "opus", "aac"}),
    "mov_text",
    # Fragments while it grows; the index of an ordinary mp4 when it is closed. The head waits for
    # the first fragment, so that it can tell by how much each track starts later.
    {
        **_ALWAYS,
        "movflags": "+hybrid_fragmented+delay_moov+default_base_moof",
        "frag_duration": str(FRAGMENT_MS * 1000),
    },
    max_objects=1_000_000,  # 220 bytes each, as measured; two hours of 30 pictures and Opus
)
MATROSKA = Container(
    "mkv",
    "matroska",
    frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mjpeg", "opus", "aac", "pcm_s16le"}),
    "subrip",
    _CLUSTERS,
    step_us=1000,
)
WEBM = Container(
    "webm", "webm", frozenset({"vp8", "vp9", "av1", "opus"}), "webvtt", _CLUSTERS, step_us=1000
)
MPEGTS = Container(
    "mpegts",
    "mpegts",
    frozenset({"h264", "hevc", "opus", "aac"}),
    "",
    # Sent as it comes: nothing is gained by waiting for full tables of timing.
    {**_ALWAYS, "muxdelay": "0", "muxpreload": "0"},
    seekable=False,
)
PIPED_MATROSKA = Container(
    "matroska",
    "matroska",
    MATROSKA.codecs,
    "",
    {**_ALWAYS, "cluster_time_limit": "100"},
    False,
    step_us=1000,
)

FILES = {".mp4": MP4, ".m4v": MP4, ".mkv": MATROSKA, ".webm": WEBM}
"""Container by the ending of a file's name."""

PIPES = {"mpegts": MPEGTS, "matroska": PIPED_MATROSKA}
"""Container of a pipe by the name that `--mux` takes."""


def container_of(path: PurePath) -> Container:
    """The container that a file's name asks for.

    Raises:
        UsageError: Its ending is none of a container.
    """
    found = FILES.get(path.suffix.lower())
    if found is None:
        what = f"{path.suffix} is no container" if path.suffix else "A recording needs an ending"
        raise UsageError(
            f"{str(path)[:200]!r}: {what}.",
            hint=f"Write {path.stem or 'room'}.mp4, .mkv (holds every codec) or .webm.",
        )
    return found


def check_holds(container: Container, codec: str, content_type: str, title: str) -> None:
    """See that a container can hold a track.

    Args:
        container: Where it is to go.
        codec: libavcodec's name of the track's codec.
        content_type: As the track declares it.
        title: The track, for people.

    Raises:
        MediaError: It cannot; the hint names containers that can (`code` is `container`).
    """
    if codec in container.codecs:
        return
    piped = container in PIPES.values()
    others = [
        name if piped else f".{one.name}"
        for name, one in (PIPES.items() if piped else ((c.name, c) for c in (MP4, MATROSKA, WEBM)))
        if codec in one.codecs
    ]
    what = content_type.partition(";")[0] or codec
    use = "--mux " if piped else "a file that ends in "
    hint = f"Use {use}{' or '.join(others)}, or" if others else "No container here does:"
    raise MediaError(
        f"{container.name} cannot hold {what}, which {title} is.",
        hint=f"{hint} choose other tracks with --track or --publisher.",
        code="container",
    )
