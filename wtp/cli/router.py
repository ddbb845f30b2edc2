"""`wtp router`: receive WebTransport sessions and forward their objects to the broker."""

from __future__ import annotations

from typing import Annotated

import typer

from wtp.cli.options import (
    Admin,
    Broker,
    ChildFlag,
    LogFormat,
    LogLevel,
    Metrics,
    Profile,
    Quiet,
    load_settings,
    option,
    sources,
)
from wtp.cli.run import run_role

app = typer.Typer()


@app.command()
def router(
    ctx: typer.Context,
    listen: Annotated[str | None, option("router.listen", "--listen", metavar="HOST:PORT")] = None,
    broker: Broker = None,
    admin: Admin = None,
    start_broker: Annotated[
        bool | None, option("broker.start", "--start-broker/--no-start-broker")
    ] = None,
    data: Annotated[str | None, option("broker.data", "--data", metavar="DIR")] = None,
    certs: Annotated[str | None, option("router.certs", "--certs", metavar="DIR")] = None,
    insecure_no_auth: Annotated[
        bool | None, option("router.insecure_no_auth", "--insecure-no-auth", panel="Network")
    ] = None,
    mtu: Annotated[int | None, option("router.mtu", "--mtu", panel="Network")] = None,
    retry: Annotated[
        bool | None, option("router.retry", "--retry/--no-retry", panel="Network")
    ] = None,
    metrics_dir: Annotated[
        str | None, option("router.metrics_dir", "--metrics-dir", metavar="DIR")
    ] = None,
    quiet: Quiet = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    profile: Profile = "local",
    child: ChildFlag = False,
) -> None:
    """Receive WebTransport sessions and forward their objects to the broker.

    With the profile local it starts an embedded broker when none answers,
    and makes a certificate when there is none.
    """
    settings = load_settings(ctx)
    from wtp.config.reload import Reload
    from wtp.router.run import LIVE, Router, served
    from wtp.ui.router import announce, line, summary

    role = Router(settings, Reload(*sources(ctx), LIVE))
    run_role(
        role,
        name="router",
        settings=settings,
        child=child,
        quiet=quiet,
        announce=announce,
        line=line,
        summary=summary,
        served=served,
        pages=role.pages,
    )
