"""The whole path on this machine as processes of its own: broker, router, and what is added."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wtp.bench.machine import cpu_s, rss_bytes
from wtp.broker.connect import administer
from wtp.broker.rooms import ensure_room
from wtp.children import Child
from wtp.config.schema import BrokerSettings, RoomSettings
from wtp.errors import WtpError
from wtp.transport.trust import Trust

START_S = 60.0
"""What a process may take to start on a busy machine."""
MEMORY_S = 2.0


class LocalPath:
    """A broker and a router on free loopback ports; everything goes when the block ends.

    Args:
        fsync: Disk policy of the embedded broker.
        broker: A broker that is there already; None starts an embedded one.

    Attributes:
        broker: The broker.
        room: A room of this path's own; in a broker that was there already it is deleted at the
            end.
        router_url: URL of the router.
        processes: Every child by name.
    """

    def __init__(self, fsync: str = "interval", broker: BrokerSettings | None = None) -> None:
        self.broker = broker or BrokerSettings()
        self.room = f"bench-{secrets.token_hex(4)}"
        self.router_url = ""
        self.processes: dict[str, Child] = {}
        self._given = broker is not None
        self._fsync = fsync
        self._hash = ""
        self._folder = Path(tempfile.mkdtemp(prefix="wtp-bench-"))

    async def __aenter__(self) -> Self:
        try:
            if not self._given:
                info = await self.start(
                    "broker",
                    ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"],
                    ["--data", str(self._folder / "broker"), "--fsync", self._fsync],
                )
                self.broker = BrokerSettings(url=info["url"], admin=info["admin"])
            router = await self.start(
                "router",
                ["--listen", "127.0.0.1:0", "--certs", str(self._folder / "certs")],
                self.broker_args,
            )
        except BaseException:
            await self._end()
            raise
        self.router_url, self._hash = router["url"], router["cert_hash"]
        return self

    @property
    def broker_args(self) -> list[str]:
        """Options that lead a command to this broker."""
        return ["--broker", self.broker.url, "--admin", self.broker.admin]

    @property
    def room_args(self) -> list[str]:
        """Options that lead a command to this path's room."""
        return ["--room", self.room]

    def topic(self, name: str) -> str:
        """A topic of this path's room."""
        return f"persistent://public/{self.room}/{name}"

    @property
    def router_args(self) -> list[str]:
        """Options that lead a publisher to this router."""
        return ["--router", self.router_url, "--cert-hash", self._hash]

    @property
    def url(self) -> str:
        """URL of the router with this path's room."""
        return f"{self.router_url}?room={self.room}"

    @property
    def trust(self) -> Trust:
        """How the router's certificate is judged."""
        return Trust(cert_hash=self._hash)

    @property
    def cert_hash(self) -> str:
        """SHA-256 of the router's certificate, hex."""
        return self._hash

    async def make_rooms(self, *more: str) -> None:
        """Make this path's room, and more, before anybody asks for their topics."""
        rules = RoomSettings(retention_minutes=60, retention_mb=4096)
        async with administer(self.broker) as admin:
            for room in (self.room, *more):
                await ensure_room(admin, f"public/{room}", rules)

    async def start(self, name: str, *args: Sequence[str]) -> dict[str, Any]:
        """Start `wtp NAME ARGS` and wait until it is ready.

        Returns:
            What it said when it was.

        Raises:
            WtpError: It ended instead, or took too long.
        """
        words = [word for group in args for word in group]
        env = {"WTP_HOME": str(self._folder)}
        child = await Child([name, *words], env=env).start()
        self.processes[name] = child
        try:
            async with asyncio.timeout(START_S):
                return await asyncio.shield(child.ready)
        except TimeoutError:
            raise WtpError(
                f"wtp {name} was not ready after {START_S:.0f} s.", hint=child.stderr_tail
            ) from None

    def cpu(self) -> dict[str, float]:
        """CPU seconds that each process has used so far."""
        used = {name: cpu_s(child.pid) for name, child in self.processes.items() if child.running}
        return {name: value for name, value in used.items() if value is not None}

    def memory(self) -> dict[str, int]:
        """Resident bytes of each process."""
        held = {name: rss_bytes(child.pid) for name, child in self.processes.items()}
        return {name: value for name, value in held.items() if value is not None}

    async def watch_memory(self) -> dict[str, list[tuple[float, int]]]:
        """Take `memory` every two seconds into lists by process until cancelled."""
        samples: dict[str, list[tuple[float, int]]] = {}
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            while True:
                for name, held in self.memory().items():
                    samples.setdefault(name, []).append((loop.time() - start, held))
                await asyncio.sleep(MEMORY_S)
        except asyncio.CancelledError:
            return samples

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        for child in reversed(list(self.processes.values())):
            await child.stop()
        if self._given:
            with contextlib.suppress(WtpError):
                async with administer(self.broker) as admin:
                    await admin.delete_namespace(f"public/{self.room}", force=True)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


class GivenPath:
    """A router and a broker that run already, perhaps elsewhere: only the way is measured.

    Args:
        router_url: URL of the router, the room in its query.
        trust: How its certificate is judged.
        broker: The broker behind it.
        room: A room that is there.
    """

    def __init__(self, router_url: str, trust: Trust, broker: BrokerSettings, room: str) -> None:
        self.url, self.trust, self.broker, self.room = router_url, trust, broker, room
        self.processes: dict[str, Child] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Nothing was started."""

    def topic(self, name: str) -> str:
        """A topic of the room."""
        return f"persistent://public/{self.room}/{name}"

    async def make_rooms(self) -> None:
        """The room is the user's."""

    def cpu(self) -> dict[str, float]:
        """Not known: the processes are not ours."""
        return {}

    async def watch_memory(self) -> dict[str, list[tuple[float, int]]]:
        """Not known."""
        return {}
