"""The router as a role: bound addresses, sessions, the broker, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from wtp import __version__
from wtp.broker.accessprobe import check_access
from wtp.broker.connect import administer
from wtp.children import Child
from wtp.children.broker import ensure_broker
from wtp.children.figures import Pages
from wtp.clock import Clock, monotonic_us
from wtp.config.address import is_loopback, join_address, split_address
from wtp.config.load import broker_folder, certs_folder
from wtp.config.reload import Reload
from wtp.config.schema import Settings
from wtp.errors import Refused, UsageError, WtpError
from wtp.model import Kind
from wtp.router import https, keyframes
from wtp.router.bufferwatch import BufferWatch
from wtp.router.exposition import pages
from wtp.router.link import BrokerLink
from wtp.router.peer import Peer
from wtp.router.rooms import Rooms
from wtp.router.route import Route
from wtp.router.services import Services
from wtp.router.totals import figures
from wtp.transport.certs import Certificate, ensure_certificate
from wtp.transport.limits import Limits
from wtp.transport.server import Server, serve
from wtp.transport.session import Session, SessionEvents
from wtp.wire import control

log = logging.getLogger("wtp.router")

LIVE = ("services", "service_defaults")
"""Sections of a profile that may change while the router runs."""

STATS_S = 1.0
FREE_PORT_TRIES = 10
DRAIN_S = 3.0
"""How long clients get to finish once they were told."""
GOODBYE = 0


def served(info: dict[str, Any]) -> str:
    """URL of the HTTPS side as this machine reaches it, out of what `ready` was told."""
    host, port = split_address(info["address"])
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, not bound
    return f"https://{join_address(own.get(host, host), port)}"


class Router:
    """The router.

    Args:
        settings: Profile.
        reload: Looks after the profile, whose `LIVE` sections are taken over when they change.

    Raises:
        UsageError: It would listen on a public address without authentication.
    """

    def __init__(self, settings: Settings, reload: Reload | None = None) -> None:
        self._settings = settings
        self._reload = reload
        self._services: Services | None = None
        self._host, self._port = split_address(settings.router.listen)
        if not is_loopback(self._host) and not settings.router.insecure_no_auth:
            raise UsageError(
                f"{settings.router.listen} is a public address and there is no authentication.",
                hint="Listen on 127.0.0.1, or allow it with --insecure-no-auth.",
            )
        self._clock = Clock()
        self._started_us = monotonic_us()
        self._peers: set[Peer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self._link: BrokerLink | None = None
        self._rooms: Rooms | None = None
        self._server: Server | None = None
        self._certificate: Certificate | None = None
        self._broker: Child | None = None
        self._buffers: BufferWatch | None = None

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Serve until `stop`.

        Args:
            ready: Called once with `address`, `url`, `cert_hash`, `broker` and `broker_data`.

        Raises:
            WtpError: The address is in use (code `bind`).
            BrokerError: The embedded broker could not be started, or the broker lets nobody in.
            Refused: The broker does not accept the router's token or certificate.
        """
        async with contextlib.AsyncExitStack() as stack:
            await self._watch_buffers(stack)
            hosts = sorted({self._host, "localhost", "127.0.0.1", "::1"} - {"0.0.0.0", "::", ""})  # noqa: S104 - left out, not bound
            self._certificate, _ = ensure_certificate(certs_folder(self._settings), hosts=hosts)
            self._broker = await ensure_broker(self._settings, say=log.info)
            stack.push_async_callback(self._stop_broker)
            await check_access(self._settings.broker)
            admin = administer(self._settings.broker)
            stack.push_async_callback(admin.close)
            link = self._link = BrokerLink(self._settings.broker)
            stack.push_async_callback(link.close)
            self._rooms = Rooms(self._settings, self._clock, link, admin, self._spawn)
            self._services = Services(self._settings.router.queues, self._rooms)
            stack.push_async_callback(self._services.close)
            self._rooms.equip = self._services.equip
            self._take(self._settings)
            stack.push_async_callback(self._cancel_tasks)
            tcp, self._server = await self._listen()
            stack.callback(tcp.close)
            stack.push_async_callback(self._server.close, GOODBYE, "the router is leaving")
            await self._serve_https(tcp, stack)
            self._spawn(link.watch())
            self._spawn(self._tick())
            if self._reload is not None:
                self._spawn(self._reload.watch(self._settings, self._take))
            if self._buffers is not None:
                self._spawn(self._buffers.run())
            self._spawn(self._look_at_default_room())
            ready(self._info())
            await self._stopping.wait()
            await self._drain()

    def stop(self) -> None:
        """Drain and leave."""
        self._stopping.set()

    def snapshot(self) -> dict[str, Any]:
        """Live figures: those of `brief`, and `tracks` with their ledgers."""
        return {**self.brief(), "tracks": {str(one.track): figures(one) for one in self.routes()}}

    def brief(self) -> dict[str, Any]:
        """Live figures without those of each track: sessions, sums by kind, what was refused."""
        rooms, link = self._rooms, self._link
        return {
            "status": "draining" if self._stopping.is_set() else "ok",
            "version": __version__,
            "uptime_s": round((monotonic_us() - self._started_us) / 1e6, 3),
            "sessions": len(self._peers),
            "connected": bool(link and link.connected),
            "broker": self._settings.broker.url,
            "broker_reopened": link.reopened if link else 0,
            "notes": dict(rooms.notes) if rooms else {},
            "lost_lines": self._buffers.files.lost if self._buffers else 0,
            "objects": rooms.total().snapshot() if rooms else {},
            "kinds": {
                kind.value: one.snapshot()
                for kind, one in (rooms.totals() if rooms else {}).items()
            },
            "services": self._services.snapshot() if self._services else {},
            "profile": self._reload.snapshot() if self._reload else {},
            "refused": dict(self._refused),
            "transport": dict(self._server.counters) if self._server else {},
        }

    def routes(self) -> list[Route]:
        """Every track's route, as it is now."""
        return list(self._rooms.routes.values()) if self._rooms else []

    @property
    def pages(self) -> Pages:
        """What is to be served of these figures."""
        return pages(self)

    def _take(self, settings: Settings) -> None:
        """Use these HTTP processors from now on."""
        assert self._services and self._rooms  # noqa: S101, PT018 - set before this is called
        self._services.configure(settings.services, settings.service_defaults)
        for route in self._rooms.routes.values():
            self._services.equip(route)

    def _info(self) -> dict[str, Any]:
        assert self._server and self._certificate  # noqa: S101, PT018 - set before this is called
        host, port = self._server.address[:2]
        shown = join_address(host, port)
        return {
            "address": shown,
            "url": f"https://{shown}/wt",
            "cert_hash": self._certificate.sha256,
            "certs": str(self._certificate.cert_path.parent),
            "broker": self._settings.broker.url,
            "broker_data": str(broker_folder(self._settings)) if self._broker else "",
        }

    async def _watch_buffers(self, stack: contextlib.AsyncExitStack) -> None:
        """Open the files of `--metrics-dir`."""
        if not self._settings.router.metrics_dir:
            return
        self._buffers = watch = await asyncio.to_thread(
            BufferWatch,
            self._settings.router,
            self.routes,
            lambda: bool(self._link and self._link.connected),
            self._refused,
        )
        stack.push_async_callback(asyncio.to_thread, watch.files.close)
        stack.callback(watch.look)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the router failed", exc_info=task.exception())

    async def _cancel_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> tuple[socket.socket, Server]:
        """TCP and UDP on one number; with port 0 one that is free for both."""
        for attempt in range(FREE_PORT_TRIES, 0, -1):
            tcp = self._bind()
            port = tcp.getsockname()[1]
            try:
                return tcp, await self._serve(port)
            except WtpError:
                tcp.close()
                if self._port or attempt == 1:
                    raise
        raise AssertionError("unreachable")

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self._host, self._port))
        except OSError as error:
            sock.close()
            raise WtpError(
                f"Cannot listen on TCP {self._settings.router.listen}: {error.strerror}.",
                hint="Choose another --listen (port 0 takes a free one), or stop what uses it.",
                code="bind",
            ) from error
        return sock

    async def _serve(self, port: int) -> Server:
        assert self._certificate  # noqa: S101 - set before this is called
        router = self._settings.router
        limits = Limits(
            sessions=router.limits.sessions,
            sessions_per_address=router.limits.sessions_per_address,
            half_open=router.limits.half_open,
            handshake_s=router.limits.handshake_s,
            idle_s=router.limits.idle_s,
        )
        retry = router.retry if router.retry is not None else not is_loopback(self._host)
        return await serve(
            self._host,
            port,
            self._certificate,
            self._accept,
            limits=limits,
            retry=retry,
            mtu=router.mtu,
        )

    async def _serve_https(self, tcp: socket.socket, stack: contextlib.AsyncExitStack) -> None:
        assert self._certificate  # noqa: S101 - set before this is called
        rooms = self._rooms
        paths = keyframes.web_routes(lambda: rooms.routes if rooms else {}, self._origin_allowed)
        app = https.build(self, self._time, self._certificate, paths)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        tcp.setblocking(False)
        await web.SockSite(runner, tcp, ssl_context=https.tls(self._certificate)).start()

    def _time(self) -> dict[str, Any]:
        domain = self._clock.domain
        return {
            "boot_id": domain.boot_id,
            "anchor_us": domain.anchor_us,
            "now_us": self._clock.now_us(),
        }

    def _accept(self, session: Session) -> SessionEvents:
        """Take a session or refuse it with a reason the client can see."""
        if self._stopping.is_set() or self._rooms is None:
            raise Refused("The router is leaving.", hint="Connect again later.", code="draining")
        if session.origin and not self._origin_allowed(session.origin, session.headers):
            self._refused["origin"] += 1
            raise Refused(
                f"Pages of {session.origin} may not connect.",
                hint="Allow the origin in router.origins.",
                code="origin",
            )
        make = Peer if self._buffers is None else self._buffers.peer
        peer = make(
            session,
            self._rooms,
            self._clock,
            self._settings,
            self._spawn,
            self._peers.discard,
            self._refused,
        )
        self._peers.add(peer)
        return peer

    def _origin_allowed(self, origin: str, headers: Any) -> bool:
        allowed = self._settings.router.origins
        if allowed:
            return "*" in allowed or origin in allowed
        if is_loopback(self._host) and origin in ("file://", "null"):
            return True
        host = urlsplit(origin).hostname or ""
        authority = urlsplit(f"//{headers.get(':authority', '')}").hostname or ""
        return host == authority or (is_loopback(self._host) and is_loopback(host))

    async def _look_at_default_room(self) -> None:
        if self._rooms is not None:
            try:
                await self._rooms.prepare(self._settings.rooms.room, Kind.VIDEO)
            except Refused as error:
                self._rooms.notes[self._settings.rooms.room] = str(error)

    async def _tick(self) -> None:
        """Tell publishers what was counted; start the broker again when it died."""
        while True:
            await asyncio.sleep(STATS_S)
            for peer in list(self._peers):
                peer.tell_stats()
            if self._broker is not None and not self._broker.running:
                log.warning("the embedded broker died; starting it again")
                try:
                    self._broker = await ensure_broker(self._settings) or self._broker
                except WtpError as error:
                    log.warning("the embedded broker does not start: %s", error)

    async def _stop_broker(self) -> None:
        if self._broker is not None:
            await self._broker.stop()

    async def _drain(self) -> None:
        """Tell clients, let them finish, hand on what is here."""
        for peer in list(self._peers):
            peer.tell(control.Drain("it was stopped"))
        loop = asyncio.get_running_loop()
        end = loop.time() + DRAIN_S
        while self._peers and loop.time() < end:
            await asyncio.sleep(0.02)
        if self._rooms is not None:
            await self._rooms.drained(DRAIN_S)
