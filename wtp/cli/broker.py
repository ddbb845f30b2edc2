"""`wtp broker`: the embedded broker alone."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wtp.cli.options import (
    ChildFlag,
    LogFormat,
    LogLevel,
    Metrics,
    Profile,
    Quiet,
    load_settings,
    option,
)
from wtp.cli.run import run_role
from wtp.config.address import is_loopback, join_address, split_address
from wtp.config.load import broker_folder
from wtp.config.schema import Settings
from wtp.errors import UsageError

if TYPE_CHECKING:
    from wtp.broker.embedded.server import BrokerServer

app = typer.Typer()

TEMPORARY_PREFIX = "wtp-demo-"
"""Only folders that the demo made are ever removed."""


class EmbeddedBroker:
    """The embedded broker as a role.

    Args:
        settings: Profile: addresses, folder, fsync policy, segment size.
        temporary: Folder to remove at a clean end; None: nothing is removed.

    Raises:
        UsageError: It would listen on a public address without authentication.
    """

    def __init__(self, settings: Settings, temporary: Path | None = None) -> None:

        self._settings = settings
        self._temporary = temporary
        self._stop = asyncio.Event()
        self._server: BrokerServer | None = None
        for listen in (settings.broker.listen, settings.broker.http):
            if not is_loopback(split_address(listen)[0]) and not settings.router.insecure_no_auth:
                raise UsageError(
                    f"{listen} is a public address and the broker has no authentication.",
                    hint="Listen on 127.0.0.1, or allow it with --insecure-no-auth.",
                )

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Serve until `stop`.

        Raises:
            StorageError: The folder is in use by another broker, read-only or damaged beyond use.
            WtpError: A port cannot be bound.
        """
        from wtp.broker.embedded.server import BrokerSettings, serve_broker
        from wtp.broker.embedded.store import Store
        from wtp.broker.embedded.values import FsyncPolicy

        broker = self._settings.broker
        folder, policy = broker_folder(self._settings), FsyncPolicy(broker.fsync)
        host, port = split_address(broker.listen)
        http_host, http_port = split_address(broker.http)
        store = await asyncio.to_thread(
            Store, folder, policy, segment_bytes=broker.segment_mb * 1024 * 1024
        )
        settings = BrokerSettings(folder, host, port, http_host, http_port, policy)
        self._server = server = await serve_broker(settings, store)
        try:
            ready(self._info(server, folder))
            await self._stop.wait()
        finally:
            await server.close()
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    def stop(self) -> None:
        """Write what is in memory, close, and end."""
        self._stop.set()

    def snapshot(self) -> dict[str, Any]:
        """Uptime and counters."""
        if self._server is None:
            return {"uptime_s": 0.0}
        admin = self._server.admin
        return {"uptime_s": round(admin.uptime_s(), 3), **admin.counters()}

    def _info(self, server: BrokerServer, folder: Path) -> dict[str, Any]:
        return {
            "url": f"pulsar://{join_address(*server.address)}",
            "admin": f"http://{join_address(*server.http_address)}" if server.http_address else "",
            "data": str(folder.resolve()),
            "fsync": self._settings.broker.fsync,
            "damage": list(server.damage),
        }


def _checked(folder: str, data: str) -> Path:
    """A folder that may be removed: the demo's own, with the data inside it."""
    path = Path(folder).resolve()
    inside = path in Path(data).resolve().parents
    expected = Path(tempfile.gettempdir()).resolve()
    if not path.name.startswith(TEMPORARY_PREFIX) or path.parent != expected or not inside:
        raise UsageError(f"{folder} is not a folder of the demo.", hint="Leave --temporary out.")
    return path


@app.command()
def broker(
    ctx: typer.Context,
    listen: Annotated[str | None, option("broker.listen", "--listen", metavar="HOST:PORT")] = None,
    http: Annotated[str | None, option("broker.http", "--http", metavar="HOST:PORT")] = None,
    data: Annotated[str | None, option("broker.data", "--data", metavar="DIR")] = None,
    fsync: Annotated[
        str | None, option("broker.fsync", "--fsync", metavar="never|interval|always")
    ] = None,
    insecure_no_auth: Annotated[
        bool | None, option("router.insecure_no_auth", "--insecure-no-auth")
    ] = None,
    temporary: Annotated[str | None, typer.Option("--temporary", hidden=True)] = None,
    quiet: Quiet = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    metrics: Metrics = None,
    profile: Profile = "local",
    child: ChildFlag = False,
) -> None:
    """Run the embedded broker, which speaks Pulsar's protocol.

    It is for one machine: development, tests, demos, small installations.
    Every Pulsar client can use it; the data stays in one folder.
    """
    settings = load_settings(ctx)
    from wtp.ui.broker import announce, line, summary

    folder = _checked(temporary, settings.broker.data) if temporary else None
    run_role(
        EmbeddedBroker(settings, folder),
        name="broker",
        settings=settings,
        child=child,
        quiet=quiet,
        announce=announce,
        line=line,
        summary=summary,
    )
