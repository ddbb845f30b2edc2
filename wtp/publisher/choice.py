"""What is to be published, as values, and what its tracks are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wtp.errors import UsageError
from wtp.model import Kind, check_name
from wtp.publisher.inputs import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class VideoInput:
    """Pictures to publish, and the sound that a file or URL has beside them.

    Attributes:
        source: `testsrc`, a path or a URL; a camera's number or device with `camera`.
        camera: Whether it is a camera.
        size: Width and height; None keeps those of the source.
        fps: Pictures per second; None keeps those of the source.
        loop: Start a file again when it ends.
        copy: Send what is encoded already as it is.
        sound: Whether its sound is published too; the track is `audio`, or `<track>-audio`.
        track: Name of the track; empty: the kind.
    """

    source: str
    camera: bool = False
    size: tuple[int, int] | None = None
    fps: float | None = None
    loop: bool = False
    copy: bool = False
    sound: bool = True
    track: str = ""


@dataclass(frozen=True, slots=True)
class ScreenInput:
    """A screen to publish.

    Attributes:
        screen: Its number from 1 on, `0` for all of them together, or a region
            `LEFT,TOP,WIDTHxHEIGHT` in pixels.
        size: Width and height it is scaled to; None keeps its own.
        fps: Pictures per second.
        track: Name of the track; empty: the kind.
    """

    screen: str
    size: tuple[int, int] | None = None
    fps: float = 15.0
    track: str = ""


@dataclass(frozen=True, slots=True)
class MicrophoneInput:
    """A microphone to publish.

    Attributes:
        device: Id or part of its name; empty: the system's default; `testsrc`: the test sound.
        track: Name of the track; empty: the kind.
    """

    device: str = ""
    track: str = ""


@dataclass(frozen=True, slots=True)
class FileInput:
    """Files and folders to transfer, one after the other. `track`: its name; empty: the kind."""

    paths: tuple[Path, ...]
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


Input = VideoInput | ScreenInput | MicrophoneInput | ChatInput | DataInput | FileInput


def track_names(inputs: Sequence[Input]) -> list[str]:
    """A name for each input's first track: as given, else its kind, numbered from the second on.

    What sound a source brings beside its pictures shows only when it is opened; see `name_tracks`.

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
    return name_tracks([(kind_of(item), item.track) for item in inputs])


def name_tracks(tracks: Sequence[tuple[Kind, str]]) -> list[str]:
    """A name for each track: as given, else its kind, with `-2` and so on from the second on.

    Args:
        tracks: Kind and given name (empty for none) of each.

    Raises:
        UsageError: A name is not allowed, or given twice.
    """
    given = [check_name("track", name) for _, name in tracks if name]
    if len(set(given)) < len(given):
        raise UsageError("Two tracks have the same name.", hint="Give each --track another name.")
    taken, names = set(given), []
    for kind, wanted in tracks:
        number = 1
        name = wanted or kind.value
        while not wanted and name in taken:
            number += 1
            name = f"{kind.value}-{number}"
        taken.add(name)
        names.append(name)
    return names


def kind_of(item: Input) -> Kind:
    """The kind of an input's (first) track."""
    return _KINDS[type(item)]


_KINDS: dict[type, Kind] = {
    VideoInput: Kind.VIDEO,
    ScreenInput: Kind.SCREEN,
    MicrophoneInput: Kind.AUDIO,
    ChatInput: Kind.CHAT,
    DataInput: Kind.DATA,
    FileInput: Kind.FILE,
}
