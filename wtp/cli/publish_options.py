"""The options of `wtp publish`: inputs, pictures, sound, network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wtp.cli.options import option, parse_bytes

INPUTS = "Inputs (one or more; --track names them in this order)"
VIDEO, SOUND, NETWORK = "Pictures", "Sound", "Network"


class Via(StrEnum):
    """How objects get into the room's topics."""

    ROUTER = "router"
    PULSAR_WS = "pulsar-ws"


Camera = Annotated[
    list[str] | None,
    typer.Option(
        "--camera",
        metavar="[ID]",
        rich_help_panel=INPUTS,
        help="A camera: number or device of wtp devices; alone: the first one.",
    ),
]
Microphone = Annotated[
    list[str] | None,
    typer.Option(
        "--mic",
        metavar="[ID]",
        rich_help_panel=INPUTS,
        help="A microphone: id or part of its name; alone: the system's default.",
    ),
]
Screen = Annotated[
    list[str] | None,
    typer.Option(
        "--screen",
        metavar="[N|LEFT,TOP,WxH]",
        rich_help_panel=INPUTS,
        help="A screen by number, 0 for all of them, or a region in pixels; alone: screen 1.",
    ),
]
Source = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="testsrc|PATH|URL",
        rich_help_panel=INPUTS,
        help="The test pattern, or any video file or URL with its sound; - reads standard input.",
    ),
]
Chat = Annotated[
    bool, typer.Option("--chat", rich_help_panel=INPUTS, help="Lines of standard input.")
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="PATH|-",
        rich_help_panel=INPUTS,
        help="A file, or standard input with -, as reliable objects.",
    ),
]
File = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        metavar="PATH...",
        rich_help_panel=INPUTS,
        help="Files and folders to transfer, several behind one --file: --file *.mp4.",
    ),
]
Stray = Annotated[list[str] | None, typer.Argument(hidden=True, metavar="")]
"""Words that belong to no option."""

Loop = Annotated[
    bool,
    typer.Option("--loop", rich_help_panel=VIDEO, help="Play the files of --source for ever."),
]
Copy = Annotated[
    bool,
    typer.Option(
        "--copy",
        rich_help_panel=VIDEO,
        help="Send what --source has encoded already as it is, without encoding it again.",
    ),
]
Fps = Annotated[float | None, option("publish.fps", "--fps", panel=VIDEO)]
Size = Annotated[str | None, option("publish.size", "--size", panel=VIDEO, metavar="WIDTHxHEIGHT")]
Codec = Annotated[
    str | None,
    option("publish.codec", "--codec", panel=VIDEO, metavar="h264|vp8|vp9|av1|jpeg"),
]
Encoder = Annotated[
    str | None, option("publish.encoder", "--encoder", panel=VIDEO, metavar="auto|NAME")
]
Bitrate = Annotated[str | None, option("publish.bitrate", "--bitrate", panel=VIDEO)]
MinBitrate = Annotated[str | None, option("publish.min_bitrate", "--min-bitrate", panel=VIDEO)]
Adapt = Annotated[bool | None, option("publish.adapt", "--adapt/--no-adapt", panel=VIDEO)]
Quality = Annotated[int | None, option("publish.quality", "--quality", panel=VIDEO)]
Gop = Annotated[int | None, option("publish.gop", "--gop", panel=VIDEO)]

NoSound = Annotated[
    bool,
    typer.Option("--no-sound", rich_help_panel=SOUND, help="Leave out the sound of --source."),
]
AudioCodec = Annotated[
    str | None, option("publish.audio_codec", "--audio-codec", panel=SOUND, metavar="opus|pcm")
]
Rate = Annotated[int | None, option("publish.rate", "--rate", panel=SOUND, metavar="HZ")]
Channels = Annotated[int | None, option("publish.channels", "--channels", panel=SOUND)]
AudioBitrate = Annotated[
    str | None, option("publish.audio_bitrate", "--audio-bitrate", panel=SOUND)
]
Denoise = Annotated[
    str | None,
    option("publish.denoise", "--denoise", panel=SOUND, metavar="auto|off|webrtc|deepfilter"),
]

Name = Annotated[str, typer.Option("--name", help="Name of this publisher; default: the host's.")]
TrackNames = Annotated[
    list[str] | None,
    typer.Option("--track", help="Name of the track; again for further inputs, in order."),
]
Chunk = Annotated[
    int | None,
    typer.Option(
        "--chunk",
        metavar="SIZE",
        parser=parse_bytes,
        help="Largest object of --data; default 64KiB, at most 1MiB.",
    ),
]
PerLine = Annotated[bool, typer.Option("--lines", help="One object of --data per line.")]
CountEach = Annotated[
    int | None,
    typer.Option("-n", "--count", min=1, help="End after as many objects of each input."),
]

ViaFlag = Annotated[
    Via,
    typer.Option(
        "--via",
        rich_help_panel=NETWORK,
        help="router: WebTransport; pulsar-ws: straight to the room's topics over the broker's "
        "WebSocket API.",
    ),
]
CertHash = Annotated[
    str,
    typer.Option(
        "--cert-hash",
        metavar="HEX",
        rich_help_panel=NETWORK,
        help="SHA-256 of the router's certificate, as the router prints it.",
    ),
]
Authority = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        rich_help_panel=NETWORK,
        help="Certificate or authority (PEM) to trust.",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", rich_help_panel=NETWORK, help="Trust any certificate.")
]
Mtu = Annotated[int | None, option("router.mtu", "--mtu", panel=NETWORK, metavar="BYTES")]
WaitRouter = Annotated[
    bool, typer.Option("--wait", rich_help_panel=NETWORK, help="Wait until a router is there.")
]
