"""`wtp devices`: what this machine can capture with, play on and encode with."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from wtp.cli.options import Output, OutputFormat
from wtp.cli.out import put

app = typer.Typer()


class DeviceKind(StrEnum):
    """Kinds of devices."""

    CAMERAS = "cameras"
    MICROPHONES = "microphones"
    SPEAKERS = "speakers"
    SCREENS = "screens"
    ENCODERS = "encoders"


@app.command()
def devices(
    kinds: Annotated[
        list[DeviceKind] | None,
        typer.Argument(
            metavar="KIND",
            help="cameras, microphones, speakers, screens, encoders; default: all but encoders, "
            "which have to be tried.",
            show_default=False,
        ),
    ] = None,
    encoders: Annotated[
        bool, typer.Option("--encoders", help="List the video encoders, each tried once.")
    ] = False,
    output: OutputFormat = Output.TABLE,
) -> None:
    """List cameras, microphones, speakers, screens and encoders, with ids to paste.

    The first column is what wtp publish takes, ready to paste.

    wtp devices
    wtp devices --encoders
    wtp devices cameras -o json
    """
    from wtp.media.devices import QUICK, find_devices
    from wtp.ui.devices import device_page

    wanted = {kind.value for kind in kinds or ()}
    if encoders:
        wanted.add(DeviceKind.ENCODERS.value)
    found = find_devices(wanted or QUICK)
    values = {**found.devices, "problems": found.problems}
    put(values, device_page(found.devices, found.problems), output)
