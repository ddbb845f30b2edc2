"""From the words of `wtp publish` to what is published; what fits no input is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wtp.config.schema import PublishSettings
from wtp.errors import UsageError

if TYPE_CHECKING:
    from wtp.publisher.choice import Input

TESTSRC = "testsrc"
STDIN = "-"
SCREEN = re.compile(r"\d+|-?\d+,-?\d+,\d+x\d+")


@dataclass(frozen=True)
class Asked:
    """The inputs of a command line, and what holds for them.

    Attributes:
        cameras: Values of `--camera`; likewise `mics`, `screens`, `sources`, `data`, `files`.
        stray: Words that belong to no option.
        chat: Whether `--chat` is given; likewise `loop`, `copy`, `no_sound`, `lines`.
        chunk: Value of `--chunk` in bytes.
        tracks: Values of `--track`.
    """

    cameras: list[str] = field(default_factory=list)
    mics: list[str] = field(default_factory=list)
    screens: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    chat: bool = False
    loop: bool = False
    copy: bool = False
    no_sound: bool = False
    lines: bool = False
    chunk: int | None = None
    tracks: list[str] = field(default_factory=list)

    @property
    def stdin(self) -> bool:
        """Whether standard input is read."""
        return self.chat or STDIN in (*self.data, *self.sources)

    @property
    def containers(self) -> bool:
        """Whether there is a source that may bring encoded pictures and sound."""
        return any(one != TESTSRC for one in self.sources)

    @property
    def encodes(self) -> bool:
        """Whether pictures are encoded here."""
        drawn = TESTSRC in self.sources or (bool(self.sources) and not self.copy)
        return bool(self.cameras or self.screens) or drawn

    @property
    def encodes_sound(self) -> bool:
        """Whether sound is encoded here."""
        return bool(self.mics) or (self.containers and not self.copy and not self.no_sound)


@dataclass(frozen=True)
class Rule:
    """When an option has an effect.

    Attributes:
        holds: Tells whether it has.
        about: What it is about, behind "is about".
        hint: What to add or leave out.
    """

    holds: Callable[[Asked, PublishSettings], bool]
    about: str
    hint: str


ENCODED = Rule(
    lambda asked, _: asked.encodes,
    "pictures that are encoded here",
    "Add --camera, --screen or --source, without --copy.",
)
JPEG = Rule(
    lambda asked, settings: asked.encodes and settings.codec == "jpeg",
    "JPEG pictures",
    "Add --codec jpeg; other codecs take --bitrate.",
)
GROUPS = Rule(
    lambda asked, settings: asked.encodes and settings.codec != "jpeg",
    "codecs with key frames",
    "Leave it out: every JPEG picture stands alone.",
)
SOUND = Rule(
    lambda asked, _: asked.encodes_sound,
    "sound that is encoded here",
    "Add --mic, or a --source with sound, without --copy.",
)
OPUS = Rule(
    lambda asked, settings: asked.encodes_sound and settings.audio_codec == "opus",
    "Opus sound",
    "Leave it out with --audio-codec pcm; else add --mic or a --source with sound.",
)
MICROPHONE = Rule(lambda asked, _: bool(asked.mics), "a microphone", "Add --mic.")
CONTAINER = Rule(
    lambda asked, _: asked.containers, "a file or URL", "Add --source PATH|URL, or leave it out."
)
SOURCE = Rule(lambda asked, _: bool(asked.sources), "a --source", "Add one, or leave it out.")
DATA = Rule(lambda asked, _: bool(asked.data), "--data", "Add --data PATH|-.")

RULES: dict[str, Rule] = {
    "fps": ENCODED, "size": ENCODED, "codec": ENCODED, "encoder": ENCODED, "bitrate": ENCODED,
    "min_bitrate": ENCODED, "adapt": ENCODED, "quality": JPEG, "gop": GROUPS,
    "loop": SOURCE, "copy": CONTAINER, "no_sound": CONTAINER,
    "audio_codec": SOUND, "audio_bitrate": OPUS,
    "rate": MICROPHONE, "channels": MICROPHONE, "denoise": MICROPHONE,
    "chunk": DATA, "lines": DATA,
}  # fmt: skip
"""Name of an argument of the command to when it has an effect."""


def check_fit(asked: Asked, settings: PublishSettings, given: Mapping[str, str]) -> None:
    """Refuse options that would have no effect.

    Args:
        asked: The inputs.
        settings: With the command line's values.
        given: Options on the command line: name of the argument to its flag.

    Raises:
        UsageError: One of them is about an input that is not there; it is named.
    """
    for name, flag in given.items():
        rule = RULES.get(name)
        if rule is not None and not rule.holds(asked, settings):
            raise UsageError(f"{flag} is about {rule.about}.", hint=rule.hint)
    if "min_bitrate" in given:
        from wtp.publisher.pictures import parse_bitrate

        if parse_bitrate(settings.min_bitrate) > parse_bitrate(settings.bitrate):
            raise UsageError(
                f"--min-bitrate {settings.min_bitrate} is above --bitrate {settings.bitrate}.",
                hint="Give a lower one; the bit rate never goes below it.",
            )


def collect_inputs(asked: Asked, settings: PublishSettings, chosen: Collection[str]) -> list[Input]:
    """The inputs in the order camera, mic, screen, source, chat, data, file.

    Args:
        asked: What the command line names.
        settings: Size and rate of what has none of its own.
        chosen: Keys of the settings that the command line or environment names: only then do
            screens, files and URLs give up their own size and rate.

    Raises:
        UsageError: There is none, or one makes no sense.
    """
    _check_words(asked)
    names = iter([*asked.tracks, *[""] * 1000])
    inputs = list(_inputs(asked, settings, chosen, names))
    if not inputs:
        raise UsageError(
            "There is nothing to publish.",
            hint="Choose --camera [ID], --mic [ID], --screen [N], --source testsrc|PATH|URL, "
            "--chat, --data PATH|- or --file PATH...",
        )
    if len(asked.tracks) > len(inputs):
        raise UsageError(
            f"There are {len(asked.tracks)} --track and {len(inputs)} inputs.",
            hint="Give --track at most once per input.",
        )
    return inputs


def _check_words(asked: Asked) -> None:
    if asked.stray and not asked.files:
        word = asked.stray[0]
        raise UsageError(
            f"{word!r} belongs to no option.",
            hint=f"Stream it with --source {word}, or transfer it with --file {word}.",
        )
    if "" in asked.files:
        raise UsageError("--file needs a path.", hint="Give files or folders: --file *.mp4.")
    if STDIN in asked.files:
        raise UsageError(
            "Standard input is no file to transfer: it has no name.", hint="Use --data -."
        )
    for one in asked.screens:
        if not SCREEN.fullmatch(one):
            raise UsageError(
                f"{one!r} is no screen.", hint="Write its number, or LEFT,TOP,WIDTHxHEIGHT."
            )


def _inputs(
    asked: Asked, settings: PublishSettings, chosen: Collection[str], names: Iterator[str]
) -> Iterator[Input]:
    from wtp.model import MAX_BYTES, Kind
    from wtp.publisher import choice
    from wtp.publisher.inputs import CHUNK_BYTES

    width, _, height = settings.size.partition("x")
    size = (int(width), int(height))
    own_size = size if "publish.size" in chosen else None
    own_fps = settings.fps if "publish.fps" in chosen else None
    chunk = CHUNK_BYTES if asked.chunk is None else asked.chunk
    if not 1 <= chunk <= MAX_BYTES[Kind.DATA]:
        raise UsageError("A chunk has 1 byte to 1 MiB.", hint="Give --chunk 64KiB, for example.")
    for one in asked.cameras:
        yield choice.VideoInput(
            one, camera=True, size=size, fps=settings.fps, sound=False, track=next(names)
        )
    for one in asked.mics:
        yield choice.MicrophoneInput(one, next(names))
    for one in asked.screens:
        rate = {} if own_fps is None else {"fps": own_fps}
        yield choice.ScreenInput(one, size=own_size, track=next(names), **rate)
    for one in asked.sources:
        drawn = one == TESTSRC
        yield choice.VideoInput(
            one,
            size=size if drawn else own_size,
            fps=settings.fps if drawn else own_fps,
            loop=asked.loop,
            copy=asked.copy and not drawn,
            sound=not asked.no_sound and not drawn,
            track=next(names),
        )
    if asked.chat:
        yield choice.ChatInput(next(names))
    for one in asked.data:
        yield choice.DataInput(one, chunk, asked.lines, next(names))
    files = tuple(Path(one) for one in (*asked.files, *asked.stray))
    if files:
        yield choice.FileInput(files, next(names))
