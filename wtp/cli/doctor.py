"""`wtp doctor`: what is wrong here, why it matters, and what mends it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from wtp.cli.options import (
    VALUES,
    Admin,
    Broker,
    Output,
    OutputFormat,
    Profile,
    Room,
    RouterUrl,
    load_settings,
    option,
)
from wtp.cli.out import put
from wtp.config.schema import Settings, find

app = typer.Typer()

TRUST = "Trust"


def _names(incomplete: str) -> list[str]:
    from wtp.doctor.run import CHECKS

    return [name for name in CHECKS if name.startswith(incomplete)]


@app.command()
def doctor(
    ctx: typer.Context,
    checks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECK]...",
            help="python, packages, opencv, camera, sound, udp, certificate, router, clock, "
            "broker, ports, disk, processes, terminal; default: all.",
            show_default=False,
            autocompletion=_names,
        ),
    ] = None,
    why: Annotated[
        bool, typer.Option("--why", help="Say of every line why it matters, not only of faults.")
    ] = False,
    router: RouterUrl = None,
    broker: Broker = None,
    admin: Admin = None,
    room: Room = None,
    cert_hash: Annotated[
        str,
        typer.Option(
            "--cert-hash",
            metavar="HEX",
            help="SHA-256 of the router's certificate.",
            rich_help_panel=TRUST,
        ),
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            metavar="FILE",
            help="Certificates that sign the router's.",
            rich_help_panel=TRUST,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Do not check the router's certificate.", rich_help_panel=TRUST
        ),
    ] = False,
    certs: Annotated[
        str | None, option("router.certs", "--certs", metavar="DIR", panel=TRUST)
    ] = None,
    output: OutputFormat = Output.TABLE,
    profile: Profile = "local",
) -> None:
    """Look for what is wrong here, and say how to mend it.

    It looks at this machine, and at the router and the broker where some
    answer; it starts and changes nothing. Exit code 1: there is a fault. That
    no router or broker runs is one only when you named it.

    wtp doctor
    wtp doctor --router https://media.example:4433/wt --cert-hash HEX
    wtp doctor broker --broker pulsar://pulsar.example:6650
    wtp doctor -o json
    """
    settings = load_settings(ctx)
    from wtp.config.load import certs_folder, home
    from wtp.doctor.finding import State, Subject
    from wtp.doctor.run import diagnose
    from wtp.model import check_name
    from wtp.transport.trust import Trust
    from wtp.ui.doctor import doctor_page

    check_name("room", settings.rooms.room)
    subject = Subject(
        settings=settings,
        home=home(),
        certs=certs_folder(settings),
        trust=Trust(cert_hash, ca, insecure),
        router_named=_named(ctx, settings, "router.url"),
        broker_named=_named(ctx, settings, "broker.url"),
    )
    found = asyncio.run(diagnose(subject, checks or ()))
    rows: list[dict[str, Any]] = [asdict(finding) for finding in found]
    put(rows, doctor_page(rows, whys=why), output)
    if any(finding.state is State.FAULT for finding in found):
        raise typer.Exit(1)


def _named(ctx: typer.Context, settings: Settings, key: str) -> bool:
    """Whether a URL was given by flag or environment, or is another than the usual one."""
    section, name = key.split(".")
    value = getattr(getattr(settings, section), name)
    return ctx.meta.get(VALUES, {}).get(key) is not None or value != find(key)[0]
