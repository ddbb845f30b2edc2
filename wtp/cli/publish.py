"""`wtp publish`: send a camera, a video, chat lines or data to a room."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from wtp.cli.optional import OptionalValues
from wtp.cli.options import (
    VALUES,
    Admin,
    Broker,
    ChildFlag,
    Duration,
    LogLevel,
    Profile,
    Quiet,
    Room,
    RouterUrl,
    load_settings,
    option,
    parse_bytes,
)
from wtp.cli.run import Role, run_role
from wtp.config.schema import Settings
from wtp.errors import UsageError

if TYPE_CHECKING:
    from wtp.publisher.choice import Input

INPUTS = "Inputs (one or more)"
VIDEO = "Video"
NETWORK = "Network"
DEFAULT_CAMERA = "0"

app = typer.Typer()


class Via(StrEnum):
    """How objects get into the room's topics."""

    ROUTER = "router"
    PULSAR_WS = "pulsar-ws"


class PublishCommand(OptionalValues):
    """`--camera` alone takes the first camera."""

    optional: ClassVar = {"--camera": DEFAULT_CAMERA}


@app.command(cls=PublishCommand)
def publish(
    ctx: typer.Context,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            "--camera",
            metavar="[ID]",
            rich_help_panel=INPUTS,
            help="A camera: number or device; alone: the first one.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="testsrc|PATH|URL",
            rich_help_panel=INPUTS,
            help="The test pattern, or any video file or URL; - reads standard input.",
        ),
    ] = None,
    chat: Annotated[
        bool,
        typer.Option("--chat", rich_help_panel=INPUTS, help="Lines of standard input."),
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="PATH|-",
            rich_help_panel=INPUTS,
            help="A file, or standard input with -, as reliable objects.",
        ),
    ] = None,
    room: Room = None,
    name: Annotated[
        str, typer.Option("--name", help="Name of this publisher; default: the host's.")
    ] = "",
    track: Annotated[
        list[str] | None,
        typer.Option("--track", help="Name of the track; again for further inputs, in order."),
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", rich_help_panel=VIDEO, help="Play files for ever.")
    ] = False,
    fps: Annotated[float | None, option("publish.fps", "--fps", panel=VIDEO)] = None,
    size: Annotated[
        str | None, option("publish.size", "--size", panel=VIDEO, metavar="WIDTHxHEIGHT")
    ] = None,
    codec: Annotated[
        str | None, option("publish.codec", "--codec", panel=VIDEO, metavar="h264|jpeg")
    ] = None,
    bitrate: Annotated[str | None, option("publish.bitrate", "--bitrate", panel=VIDEO)] = None,
    quality: Annotated[int | None, option("publish.quality", "--quality", panel=VIDEO)] = None,
    gop: Annotated[int | None, option("publish.gop", "--gop", panel=VIDEO)] = None,
    chunk: Annotated[
        int | None,
        typer.Option(
            "--chunk",
            metavar="SIZE",
            parser=parse_bytes,
            help="Largest object of --data; default 64KiB, at most 1MiB.",
        ),
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="One object of --data per line.")] = False,
    via: Annotated[
        Via,
        typer.Option(
            "--via",
            rich_help_panel=NETWORK,
            help="router: WebTransport; pulsar-ws: straight to the room's topics over the broker's "
            "WebSocket API.",
        ),
    ] = Via.ROUTER,
    router: RouterUrl = None,
    broker: Broker = None,
    admin: Admin = None,
    cert_hash: Annotated[
        str,
        typer.Option(
            "--cert-hash",
            metavar="HEX",
            rich_help_panel=NETWORK,
            help="SHA-256 of the router's certificate, as the router prints it.",
        ),
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            metavar="FILE",
            rich_help_panel=NETWORK,
            help="Certificate or authority (PEM) to trust.",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", rich_help_panel=NETWORK, help="Trust any certificate."),
    ] = False,
    mtu: Annotated[
        int | None, option("router.mtu", "--mtu", panel=NETWORK, metavar="BYTES")
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", rich_help_panel=NETWORK, help="Wait until a router is there."),
    ] = False,
    duration: Duration = None,
    count: Annotated[
        int | None,
        typer.Option("-n", "--count", min=1, help="End after as many objects of each input."),
    ] = None,
    quiet: Quiet = False,
    log_level: LogLevel = None,
    profile: Profile = "local",
    child: ChildFlag = False,
) -> None:
    """Send a camera, a video, chat lines or data to a room.

    Several inputs share one session: wtp publish --source testsrc --chat.
    """  # fmt: skip
    settings = load_settings(ctx)
    inputs = _inputs(
        settings, ctx.meta.get(VALUES, {}), camera or [], source or [], data or [],
        chat=chat, loop=loop, chunk=chunk, lines=lines, tracks=track or [],
    )  # fmt: skip
    stdin = chat or "-" in (*(data or []), *(source or []))
    if child and stdin:
        raise UsageError(
            "Standard input is the parent's with --child.", hint="Leave out --chat and -."
        )
    if stdin and sys.stdin is None:
        raise UsageError(
            "Standard input is closed.",
            hint="Leave out `<&-`, or give the input with `<FILE` or a pipe.",
        )
    if via is Via.PULSAR_WS and (cert_hash or ca or insecure):
        raise UsageError(
            "--cert-hash, --ca and --insecure are about a router.",
            hint="Trust in a broker is set with WTP_BROKER_CA.",
        )
    more: dict[str, Any] = {
        "name": name, "duration_s": duration or 0.0, "count": count or 0, "wait": wait,
    }  # fmt: skip
    role: Role
    if via is Via.PULSAR_WS:
        from wtp.publisher.viapulsar import TopicPublisher
        from wtp.ui import viapulsar as says

        role = TopicPublisher(settings, inputs, **more)
    else:
        from wtp.publisher.run import Publisher
        from wtp.transport.trust import Trust
        from wtp.ui import publish as says  # type: ignore[no-redef]

        trust = Trust(cert_hash=cert_hash, ca=ca, insecure=insecure)
        role = Publisher(settings, inputs, trust=trust, **more)
    typing = stdin and sys.stdin.isatty() and not quiet and not child
    if typing:
        sys.stderr.write("Type lines; Enter sends one, Ctrl-D ends.\n")
    try:
        run_role(
            role,
            child=child,
            quiet=quiet or typing,
            log_level=settings.logging.level,
            announce=says.announce,
            line=says.line,
            summary=says.summary,
        )
    finally:
        if typing:
            sys.stderr.write(says.summary(role.snapshot()) + "\n")


def _inputs(
    settings: Settings,
    given: dict[str, Any],
    cameras: list[str],
    sources: list[str],
    data: list[str],
    *,
    chat: bool,
    loop: bool,
    chunk: int | None,
    lines: bool,
    tracks: list[str],
) -> list[Input]:
    """The inputs in the order camera, source, chat, data; `--track` names them in that order.

    Files and URLs keep their size and rate unless the command line or environment names one.

    Raises:
        UsageError: There is none, or an option fits none of them.
    """
    from wtp.model import MAX_BYTES, Kind
    from wtp.publisher.choice import ChatInput, DataInput, VideoInput
    from wtp.publisher.inputs import CHUNK_BYTES

    width, _, height = settings.publish.size.partition("x")
    size, fps = (int(width), int(height)), settings.publish.fps
    asked = {key for key, value in given.items() if value is not None}
    file_size = size if "publish.size" in asked else None
    file_fps = fps if "publish.fps" in asked else None
    chunk = CHUNK_BYTES if chunk is None else chunk
    if not 1 <= chunk <= MAX_BYTES[Kind.DATA]:
        raise UsageError("A chunk has 1 byte to 1 MiB.", hint="Give --chunk 64KiB, for example.")
    names = iter([*tracks, *[""] * 1000])
    inputs: list[Input] = [
        VideoInput(one, camera=True, size=size, fps=fps, track=next(names)) for one in cameras
    ]
    for one in sources:
        drawn = one == "testsrc"
        inputs.append(
            VideoInput(
                one,
                size=size if drawn else file_size,
                fps=fps if drawn else file_fps,
                loop=loop,
                track=next(names),
            )
        )
    if chat:
        inputs.append(ChatInput(next(names)))
    inputs += [DataInput(one, chunk, lines, next(names)) for one in data]
    if not inputs:
        raise UsageError(
            "There is nothing to publish.",
            hint="Choose --camera [ID], --source testsrc|PATH|URL, --chat or --data PATH|-.",
        )
    if len(tracks) > len(inputs):
        raise UsageError(
            f"There are {len(tracks)} --track and {len(inputs)} inputs.",
            hint="Give --track at most once per input.",
        )
    return inputs
