"""What is to be published, as values, and what its tracks are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wtp.errors import UsageError
from wtp.model import Kind, check_name
from wtp.publisher.inputs import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class VideoInput:
    """Pictures to publish.

    Attributes:
        source: `testsrc`, a path or a URL; a camera's number or device with `camera`.
        camera: Whether it is a camera.
        size: Width and height; None keeps those of the source.
        fps: Pictures per second; None keeps those of the source.
        loop: Start a file again when it ends.
        track: Name of the track; empty: the kind.
    """

    source: str
    camera: bool = False
    size: tuple[int, int] | None = None
    fps: float | None = None
    loop: bool = False
    track: str = ""


@dataclass(frozen=True, slots=True)
class ChatInput:
    """Chat lines from standard input. `track`: name of the track; empty: the kind."""

    track: str = ""


@dataclass(frozen=True, slots=True)
class DataInput:
    """A file or standard input as reliable objects.

    Attributes:
        path: The file, or `-`.
        chunk_bytes: Largest object.
        lines: One object per line instead of chunks.
        track: Name of the track; empty: the kind.
    """

    path: str
    chunk_bytes: int = CHUNK_BYTES
    lines: bool = False
    track: str = ""


Input = VideoInput | ChatInput | DataInput


def track_names(inputs: Sequence[Input]) -> list[str]:
    """A name for each track: as given, else its kind, with `-2` and so on from the second on.

    Raises:
        UsageError: A name is not allowed, given twice, or standard input is to be read twice.
    """
    readers = [i for i in inputs if isinstance(i, ChatInput) or getattr(i, "path", "") == "-"]
    readers += [i for i in inputs if isinstance(i, VideoInput) and i.source == "-"]
    if len(readers) > 1:
        raise UsageError(
            "Standard input can feed one track only.",
            hint="Choose one of --chat, --data - and --source -.",
        )
    given = [check_name("track", item.track) for item in inputs if item.track]
    if len(set(given)) < len(given):
        raise UsageError("Two tracks have the same name.", hint="Give each --track another name.")
    taken, names = set(given), []
    for item in inputs:
        kind = kind_of(item).value
        number = 1
        name = item.track or kind
        while not item.track and name in taken:
            number += 1
            name = f"{kind}-{number}"
        taken.add(name)
        names.append(name)
    return names


def kind_of(item: Input) -> Kind:
    """The kind of an input's track."""
    if isinstance(item, VideoInput):
        return Kind.VIDEO
    return Kind.CHAT if isinstance(item, ChatInput) else Kind.DATA
