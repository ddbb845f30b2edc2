"""What commands that read a room share: their options, and where objects go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from wtp.cli.complete import rooms
from wtp.cli.optional import flags_given
from wtp.cli.options import option
from wtp.errors import UsageError
from wtp.model import Kind

if TYPE_CHECKING:
    from wtp.config.schema import Settings
    from wtp.consumer.item import Item
    from wtp.consumer.output import Output

WHAT, WHERE, CLOCK = "What to read", "Where it goes", "Clock"
PICTURES = frozenset({Kind.VIDEO, Kind.SCREEN})
MEDIA = PICTURES | {Kind.AUDIO}


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


PER_OBJECT = (Format.JSONL, Format.CSV)
"""Formats that write a line for each object."""

Publisher = Annotated[
    str, typer.Option(help="Only objects of this publisher.", rich_help_panel=WHAT)
]
TrackName = Annotated[str, typer.Option(help="Only tracks of this name.", rich_help_panel=WHAT)]
Count = Annotated[
    int,
    typer.Option(
        "--count",
        "-n",
        min=0,
        help="End after this many objects (or files that are saved); 0: never.",
        rich_help_panel=WHAT,
        show_default=False,
    ),
]
RawTo = Annotated[
    str,
    typer.Option(
        metavar="-|PATH",
        rich_help_panel=WHERE,
        help="One track to a pipe or file, as ffplay - and ffmpeg -i - open it: H.264, JPEG, AAC "
        "bare, VP8, VP9 and AV1 as IVF, Opus as Ogg, PCM as WAV; other kinds bare.",
    ),
]
SaveTo = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        rich_help_panel=WHERE,
        help="Save objects as files, with an index; of kind file: the files themselves.",
    ),
]
Window = Annotated[
    bool, typer.Option("--window", help="Show pictures in a window.", rich_help_panel=WHERE)
]
Preview = Annotated[
    bool, typer.Option("--preview", help="Show pictures in the terminal.", rich_help_panel=WHERE)
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace files that exist.", rich_help_panel=WHERE)
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait", help="Wait for a broker, room or topic that is not there.", rich_help_panel=WHAT
    ),
]

ClockRouter = Annotated[
    str | None,
    option(
        "router.url",
        "--router",
        metavar="URL",
        panel=CLOCK,
        help_text="Router whose clock is measured, when it runs on another machine.",
    ),
]
ClockHash = Annotated[
    str,
    typer.Option(
        "--cert-hash",
        metavar="HEX",
        help="SHA-256 of the router's certificate.",
        rich_help_panel=CLOCK,
    ),
]
ClockAuthority = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        help="Certificates that sign the router's.",
        rich_help_panel=CLOCK,
    ),
]
ClockInsecure = Annotated[
    bool,
    typer.Option(
        "--insecure", help="Do not check the router's certificate.", rich_help_panel=CLOCK
    ),
]
RoomName = Annotated[
    str,
    typer.Argument(
        metavar="ROOM",
        help="The room, as with --room.",
        autocompletion=rooms,
        show_default=False,
    ),
]


def chosen_room(ctx: typer.Context, room_name: str, room: str | None) -> dict[str, Any]:
    """The room of a command that takes it as a word, too.

    Args:
        ctx: The command's context.
        room_name: The word; empty when it is left out.
        room: Value of `--room`, or of the environment: over that the word wins.

    Returns:
        What to give to `load_settings`.

    Raises:
        UsageError: The command line names two.
    """
    if room_name and room_name != room and "room" in flags_given(ctx):
        raise UsageError(f"Two rooms are named: {room_name} and {room}.", hint="Leave out --room.")
    return {"rooms.room": room_name or None}


def full_name(topic: str, settings: Settings) -> str:
    """A topic's full name; one without a slash is a topic of the room.

    Args:
        topic: As given; empty for none.
        settings: Room and template of its topics.

    Returns:
        The full name; empty for none.

    Raises:
        UsageError: It is no topic, or the room has no legal name.
    """
    from wtp.broker.naming import parse_topic, room_namespace
    from wtp.model import check_name

    if topic and "/" not in topic:
        space = room_namespace(settings.topics.template, settings.rooms.room)
        topic = f"persistent://{space}/{topic}"
    if topic:
        return str(parse_topic(topic))
    check_name("room", settings.rooms.room)
    return ""


@dataclass(frozen=True)
class Where:
    """What is read and where it goes, out of the options.

    Attributes:
        kinds: Kinds that are read; empty for any.
        format: Of what is printed.
        raw: Where bare payloads go: `-`, a path, or empty.
        save: Folder for files.
        window: Whether pictures are shown in a window; likewise `preview` in the terminal.
        force: Whether files that exist are replaced.
    """

    kinds: tuple[Kind, ...]
    format: Format
    raw: str
    save: Path | None
    window: bool
    preview: bool
    force: bool

    name: ClassVar[str] = "wtp"
    instead: ClassVar[str] = "Choose one."
    """The hint for two places at once."""

    @property
    def places(self) -> dict[str, bool]:
        """Each option that names a place, and whether it was given; lines are one too."""
        return {
            f"-o {self.format.value}": self.format in PER_OBJECT,
            "--raw": bool(self.raw),
            "--save": self.save is not None,
            "--window": self.window,
            "--preview": self.preview,
        }

    @property
    def chat(self) -> bool:
        """Whether chat is printed for people, as nothing else was asked for."""
        chat = self.kinds == (Kind.CHAT,) and self.format is Format.TABLE
        return chat and not any(self.places.values())

    @property
    def receives(self) -> bool:
        """Whether files are put together, instead of objects being saved one by one."""
        return self.save is not None and self.kinds == (Kind.FILE,)

    @property
    def lines(self) -> bool:
        """Whether each object is a line on standard output."""
        return self.format in PER_OBJECT or self.chat

    @property
    def talks(self) -> bool:
        """Whether standard output is written to while reading."""
        return self.lines or self.preview or self.raw == "-"

    def check(self) -> None:
        """Refuse what cannot go together.

        Raises:
            UsageError: Two places, or pictures where there are none.
        """
        chosen = [name for name, given in self.places.items() if given]
        if len(chosen) > 1:
            raise UsageError(f"{' and '.join(chosen)} do not go together.", hint=self.instead)
        if self.format is Format.JSON and self.talks:
            raise UsageError(
                "The summary of -o json and the objects cannot both go to standard output.",
                hint="Leave out -o json, or give a file: --raw PATH.",
            )
        wrong = sorted(set(self.kinds) - PICTURES)
        if (self.window or self.preview) and wrong:
            raise UsageError(f"{wrong[0]} has no pictures.", hint="Use video or screen.")

    def to_output(
        self,
        forms: LineForms,
        status: Callable[[], str],
        *,
        child: bool,
        lossless: bool,
        files: int = 0,
    ) -> Output:
        """The output for the places that all reading commands have.

        Args:
            forms: How an object becomes a line.
            status: Makes the line under a preview.
            child: Whether standard output belongs to events: then nothing is written to it.
            lossless: Whether a slow reader of raw payloads holds reading up.
            files: Files to receive; 0 for no end.
        """
        from wtp.consumer import output as outputs

        if self.raw:
            sink = outputs.Sink(self.raw, force=self.force, binary=self.kinds != (Kind.CHAT,))
            if MEDIA.isdisjoint(self.kinds or MEDIA):
                return outputs.Raw(sink, lossless=lossless)
            from wtp.consumer.containers import raw_output

            return raw_output(sink, lossless=lossless)
        if self.save is not None and self.receives:
            from wtp.consumer.files import Receive

            return Receive(self.save, force=self.force, files=files)
        if self.save is not None:
            from wtp.consumer.save import Save

            return Save(self.save, force=self.force)
        if self.window or self.preview:
            from wtp.consumer.pictures import Decoded, Preview, Window

            title = " ".join((self.name, *self.kinds))
            return Decoded(Window(title) if self.window else Preview(status))
        if child or not self.lines:
            return outputs.Nowhere()
        if self.format is Format.CSV:
            return outputs.Lines(forms.csv, outputs.Sink("-"), ",".join(forms.columns))
        from wtp.consumer.chat import chat_line

        form = chat_line if self.chat else forms.json
        return outputs.Lines(form, outputs.Sink("-"))


@dataclass(frozen=True)
class LineForms:
    """How an object becomes a line: as JSON, and as CSV with these columns."""

    json: Callable[[Item], str]
    csv: Callable[[Item], str]
    columns: Sequence[str]
