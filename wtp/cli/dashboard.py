"""`wtp dashboard`: routers, tracks, latencies and brokers live in the terminal."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wtp.cli.options import (
    Admin,
    Broker,
    Duration,
    LogLevel,
    Output,
    Profile,
    Room,
    load_settings,
    parse_seconds,
)

if TYPE_CHECKING:
    from wtp.config.schema import Settings
    from wtp.dashboard.asking import Trust
    from wtp.dashboard.run import Dashboard

app = typer.Typer()

WHAT, HOW, TRUST = "What to watch", "How", "The router's certificate"

FIRST_LINE_S = 2.0
"""Until the first line: a rate needs two answers."""

SHORTEST_S = 1.0
"""Nothing is asked more often than once a second."""


class Form(StrEnum):
    """How figures are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def parse_interval(text: str | float) -> float:
    """Read a length of time of a second or more.

    Raises:
        BadParameter: It is none.
    """
    seconds = parse_seconds(text)
    if seconds < SHORTEST_S:
        raise typer.BadParameter("An interval is 1s or longer.")
    return seconds


@app.command()
def dashboard(
    ctx: typer.Context,
    router: Annotated[
        list[str] | None,
        typer.Option(
            "--router",
            metavar="URL",
            help="A router; may be given several times. Default: that of WTP_ROUTER, else those "
            "that run on this machine, else the profile's.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    broker_side: Annotated[
        bool,
        typer.Option("--topics/--no-topics", help="Watch the broker, too.", rich_help_panel=WHAT),
    ] = True,
    once: Annotated[
        bool,
        typer.Option("--once", help="Print one snapshot and end.", rich_help_panel=HOW),
    ] = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            metavar="TIME",
            help="From one line to the next, where there is no terminal.",
            parser=parse_interval,
            show_default="5s",
            rich_help_panel=HOW,
        ),
    ] = 5.0,
    duration: Duration = None,
    output: Annotated[
        Form,
        typer.Option(
            "--output",
            "-o",
            help="Format: json is one object, jsonl one a second.",
            rich_help_panel="Common",
        ),
    ] = Form.TABLE,
    cert_hash: Annotated[
        str,
        typer.Option("--cert-hash", metavar="HEX", help="Its SHA-256.", rich_help_panel=TRUST),
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", metavar="FILE", help="Certificates that sign it.", rich_help_panel=TRUST
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Do not check it.", rich_help_panel=TRUST)
    ] = False,
    broker: Broker = None,
    admin: Admin = None,
    room: Room = None,
    log_level: LogLevel = None,
    profile: Profile = "local",
) -> None:
    """Watch routers, tracks, latencies and brokers live.

    Keys in the terminal: arrows choose a track, s sorts, r turns the order,
    / filters, p holds the figures, ? tells all keys, q quits. Consumers,
    publishers and processors are shown when they run with --metrics.

    wtp dashboard
    wtp dashboard --once
    wtp dashboard -o jsonl | jq .whole
    """  # fmt: skip
    settings = load_settings(ctx)
    from wtp.dashboard.run import Dashboard, Watch

    single = once or output is Form.JSON
    named = router or ([settings.router.url] if os.environ.get("WTP_ROUTER") else [])
    watch = Watch(
        routers=tuple(named),
        trust=_trust(settings, cert_hash, ca, insecure),
        check=bool(cert_hash or ca),
        broker=broker_side,
        once=single,
        duration_s=duration or 0.0,
    )
    role = Dashboard(settings, watch)
    if single:
        _print_one(role, output)
    elif output is Form.TABLE and _terminal():
        from wtp.cli.dashboard_app import show

        raise typer.Exit(show(role))
    else:
        _lines(role, settings, interval, output)


def _trust(
    settings: Settings, cert_hash: str, ca: Path | None, insecure: bool
) -> Callable[[str], Trust]:
    """How a router's certificate is checked, by its URL; a wrong hash or file is told now."""
    from wtp.config.load import certs_folder
    from wtp.consumer.trust import clock_trust

    def trust(url: str) -> Trust:
        return clock_trust(url, cert_hash, ca, insecure, certs_folder(settings))

    trust("")
    return trust


def _terminal() -> bool:
    """Whether there is a terminal with keys and a screen."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _print_one(role: Dashboard, output: Form) -> None:
    """Print one snapshot."""
    from wtp.cli.out import put

    asyncio.run(role.run(lambda _: None))
    snapshot = role.snapshot()
    if output is Form.JSONL:
        sys.stdout.write(_compact(snapshot) + "\n")
        return
    from rich.console import Console

    from wtp.ui.dashboard import once

    put(snapshot, once(snapshot, Console().width), Output(output.value))


def _compact(snapshot: dict[str, Any]) -> str:
    """A snapshot as one line; its history stands in the lines before it."""
    kept = {k: v for k, v in snapshot.items() if k not in ("history", "track_history")}
    return json.dumps(kept, separators=(",", ":"), default=str)


def _lines(role: Dashboard, settings: Settings, interval_s: float, output: Form) -> None:
    """Write a line from time to time until stopped, or until nobody reads."""
    from wtp.cli.face import Face
    from wtp.cli.run import run_role
    from wtp.config.schema import MetricsSettings
    from wtp.ui.dashboard import line

    class Lines(Face):
        period_s = FIRST_LINE_S if output is Form.TABLE else SHORTEST_S

        async def status(self, snapshot: dict[str, Any]) -> None:
            self.period_s = interval_s if output is Form.TABLE else SHORTEST_S
            text = line(snapshot) if output is Form.TABLE else _compact(snapshot)
            try:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
            except OSError:
                role.stop()
                raise

    # It watches and is not watched: an address in WTP_METRICS is that of another process.
    own = settings.model_copy(update={"metrics": MetricsSettings()})
    run_role(role, name="dashboard", settings=own, face=Lines())
