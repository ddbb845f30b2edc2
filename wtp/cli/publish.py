"""`wtp publish`: send cameras, microphones, screens, videos, chat, data or files to a room."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import typer

from wtp.cli import publish_options as opt
from wtp.cli.optional import OptionalValues, flags_given
from wtp.cli.options import (
    VALUES,
    Admin,
    Broker,
    ChildFlag,
    Duration,
    LogFormat,
    LogLevel,
    Metrics,
    Profile,
    Quiet,
    Room,
    RouterUrl,
    load_settings,
)
from wtp.cli.publish_inputs import Asked, check_fit, collect_inputs
from wtp.cli.publish_options import Via
from wtp.cli.run import Role, run_role
from wtp.config.schema import Settings
from wtp.errors import UsageError

app = typer.Typer()


class PublishCommand(OptionalValues):
    """`--camera`, `--mic` and `--screen` may stand alone; `--file` takes all words that follow."""

    optional: ClassVar = {"--camera": "0", "--mic": "", "--screen": "1"}
    several: ClassVar = frozenset({"--file"})

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Leave out the words that are only there to be refused with a sentence."""
        return ["[OPTIONS]"]


@app.command(cls=PublishCommand)
def publish(
    ctx: typer.Context,
    words: opt.Stray = None,
    camera: opt.Camera = None,
    mic: opt.Microphone = None,
    screen: opt.Screen = None,
    source: opt.Source = None,
    chat: opt.Chat = False,
    data: opt.Data = None,
    file: opt.File = None,
    room: Room = None,
    name: opt.Name = "",
    track: opt.TrackNames = None,
    loop: opt.Loop = False,
    copy: opt.Copy = False,
    fps: opt.Fps = None,
    size: opt.Size = None,
    codec: opt.Codec = None,
    encoder: opt.Encoder = None,
    bitrate: opt.Bitrate = None,
    min_bitrate: opt.MinBitrate = None,
    adapt: opt.Adapt = None,
    quality: opt.Quality = None,
    gop: opt.Gop = None,
    no_sound: opt.NoSound = False,
    audio_codec: opt.AudioCodec = None,
    rate: opt.Rate = None,
    channels: opt.Channels = None,
    audio_bitrate: opt.AudioBitrate = None,
    denoise: opt.Denoise = None,
    chunk: opt.Chunk = None,
    lines: opt.PerLine = False,
    via: opt.ViaFlag = Via.ROUTER,
    router: RouterUrl = None,
    broker: Broker = None,
    admin: Admin = None,
    cert_hash: opt.CertHash = "",
    ca: opt.Authority = None,
    insecure: opt.Insecure = False,
    mtu: opt.Mtu = None,
    wait: opt.WaitRouter = False,
    duration: Duration = None,
    count: opt.CountEach = None,
    quiet: Quiet = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    profile: Profile = "local",
    child: ChildFlag = False,
) -> None:
    """Send cameras, microphones, screens, videos, chat, data or files to a room.

    Several inputs share one session and one clock.

    wtp publish --camera --mic
    wtp publish --screen --chat --name ann
    wtp publish --source rtsp://HOST/stream --copy
    wtp publish --file *.mp4
    """
    settings = load_settings(ctx)
    asked = Asked(
        camera or [], mic or [], screen or [], source or [], data or [], file or [], words or [],
        chat=chat, loop=loop, copy=copy, no_sound=no_sound, lines=lines, chunk=chunk,
        tracks=track or [],
    )  # fmt: skip
    values: dict[str, Any] = ctx.meta.get(VALUES, {})
    chosen = {key for key, value in values.items() if value is not None}
    inputs = collect_inputs(asked, settings.publish, chosen)
    check_fit(asked, settings.publish, flags_given(ctx))
    _check_standard_input(asked, child)
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
    _run(role, says, settings, typing=asked.stdin and not quiet, child=child, quiet=quiet)


def _check_standard_input(asked: Asked, child: bool) -> None:
    if not asked.stdin:
        return
    if child:
        raise UsageError(
            "Standard input is the parent's with --child.", hint="Leave out --chat and -."
        )
    if sys.stdin is None:
        raise UsageError(
            "Standard input is closed.",
            hint="Leave out `<&-`, or give the input with `<FILE` or a pipe.",
        )


def _run(
    role: Role, says: Any, settings: Settings, *, typing: bool, child: bool, quiet: bool
) -> None:
    """Run it; somebody who types lines at a terminal is not disturbed by a status line."""
    at_terminal = sys.stdin.isatty() and settings.logging.format == "text"
    typing = typing and at_terminal and not child
    if typing:
        sys.stderr.write("Type lines; Enter sends one, Ctrl-D ends.\n")
    try:
        run_role(
            role,
            name="publish",
            settings=settings,
            child=child,
            quiet=quiet or typing,
            announce=says.announce,
            line=says.line,
            screen=getattr(says, "screen", None),
            summary=says.summary,
        )
    finally:
        if typing:
            sys.stderr.write(says.summary(role.snapshot()) + "\n")
