"""The role behind `wtp processor KIND`: an HTTP server that applies user code to objects."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from wtp import __version__
from wtp.clock import monotonic_us
from wtp.config.address import is_loopback, join_address, split_address
from wtp.config.schema import Settings
from wtp.errors import UsageError, WtpError
from wtp.model import Kind
from wtp.processor.code import CodeSpec
from wtp.processor.isolate import DEFAULT_MEMORY_BYTES, make_runner
from wtp.processor.outlet import Outlet
from wtp.processor.server import Server
from wtp.wire.process import PATH

log = logging.getLogger("wtp.processor")

DRAIN_S = 10.0
"""How long objects under way may take once the processor is to stop."""

CLOSE_S = 2.0
"""How long open connections are waited for at the end."""


class Processor:
    """An HTTP processor.

    Args:
        settings: Profile.
        kind: Of the objects.
        code: What is applied to them.
        workers: Processes for the code.
        reload: Load the code again when its file changes.
        max_memory_bytes: Of data that each process of the code may have; 0 sets no limit.

    Raises:
        UsageError: It would listen on a public address without authentication.
    """

    def __init__(
        self,
        settings: Settings,
        kind: Kind,
        code: CodeSpec,
        *,
        workers: int = 1,
        reload: bool = False,
        max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> None:
        self._settings = settings
        own = settings.processor
        self._host, self._port = split_address(own.listen)
        if not is_loopback(self._host) and not own.insecure_no_auth:
            raise UsageError(
                f"{own.listen} is a public address and there is no authentication.",
                hint="Listen on 127.0.0.1, or allow it with --insecure-no-auth.",
            )
        self._kind, self._code = kind, code
        self._runner = make_runner(
            code,
            kind,
            workers=workers,
            timeout_s=own.timeout_s,
            reload=reload,
            max_memory_bytes=max_memory_bytes,
        )
        self._outlet: Outlet | None = None
        self._server: Server | None = None
        self._stopping = asyncio.Event()
        self._started_us = monotonic_us()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Serve until `stop`.

        Args:
            ready: Called once with `address`, `url`, `health`, `kind`, `code`, `broker`.

        Raises:
            UsageError: The code cannot be loaded.
            WtpError: The address is in use (code `bind`).
            BrokerUnavailable: What answers at the broker's URL is none; that nothing answers is
                no error.
            Refused: The broker does not let it in.
        """
        own = self._settings.processor
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._runner.close)
            if not await self._load():
                return
            if own.send_to_pulsar or own.dead_letter:
                self._outlet = Outlet(self._settings, self._code.name)
                stack.push_async_callback(self._outlet.close)
                await self._outlet.start()
            self._server = Server(
                self._kind,
                self._runner,
                self._outlet if own.send_to_pulsar else None,
                self._outlet if own.dead_letter else None,
                own.in_flight,
            )
            runner = web.AppRunner(
                self._server.application(self._health), access_log=None, shutdown_timeout=CLOSE_S
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            ready(self._info(await self._listen(runner)))
            await self._stopping.wait()
            self._server.stopping = True
            if not await self._server.idle(DRAIN_S):
                log.warning("Objects were still under way after %g s.", DRAIN_S)

    async def _load(self) -> bool:
        """Load the code, which may take long; tells whether it is there and still wanted."""
        loading = asyncio.create_task(self._runner.start())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
            return not self._stopping.is_set()
        finally:
            for task in (loading, stopping):
                task.cancel()
            await asyncio.gather(loading, stopping, return_exceptions=True)

    async def _listen(self, runner: web.AppRunner) -> str:
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            raise WtpError(
                f"{self._settings.processor.listen} cannot be listened on: {error.strerror}.",
                hint="Choose another --listen; port 0 takes a free one.",
                code="bind",
            ) from error
        host, port = runner.addresses[0][:2]
        return join_address(host, port)

    def _info(self, address: str) -> dict[str, Any]:
        own = self._settings.processor
        return {
            "address": address,
            "url": f"http://{address}{PATH}",
            "health": f"http://{address}/health",
            "kind": self._kind.value,
            "code": self._code.text,
            "broker": self._settings.broker.url if own.send_to_pulsar else "",
        }

    def stop(self) -> None:
        """Finish what is under way, flush, and leave."""
        self._stopping.set()

    def _health(self) -> tuple[bool, dict[str, Any]]:
        state = self.snapshot()
        return state["status"] == "ok", state

    def _status(self) -> str:
        if self._stopping.is_set():
            return "draining"
        if not self._runner.snapshot()["ready"]:
            return "code-missing"
        if self._settings.processor.send_to_pulsar and not self._connected:
            return "no-broker"
        return "ok"

    @property
    def _connected(self) -> bool:
        return self._outlet is not None and self._outlet.connected

    def snapshot(self) -> dict[str, Any]:
        """Live figures: `status`, the ledger of objects, latencies, the code's failures."""
        server, outlet = self._server, self._outlet
        return {
            "status": self._status(),
            "version": __version__,
            "uptime_s": round((monotonic_us() - self._started_us) / 1e6, 3),
            "kind": self._kind.value,
            "code": self._code.text,
            "runner": self._runner.snapshot(),
            "objects": server.ledger.snapshot() if server else {},
            "refused": {str(k): v for k, v in server.refused.items()} if server else {},
            "took": server.took.snapshot() if server else {},
            "send_to_pulsar": self._settings.processor.send_to_pulsar,
            "connected": self._connected,
            "problem": outlet.problem if outlet else "",
            "published": outlet.published if outlet else 0,
            "dead_letters": outlet.dead_letters if outlet else 0,
        }
