"""The publisher as a role: inputs, one session, a clean end."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Any

from wtp.clock import Clock, monotonic_us
from wtp.config.load import certs_folder
from wtp.config.schema import Settings
from wtp.errors import ConnectionFailed, UsageError, WtpError
from wtp.model import check_name, clean_name
from wtp.publisher.choice import Input, track_names
from wtp.publisher.connection import Connection, Target, either
from wtp.publisher.feeds import Feed, open_feeds
from wtp.publisher.reliable import ReliableTrack
from wtp.publisher.running import announced, run_feeds, unreceipted, until_stopped
from wtp.publisher.trust import room_url, trust_for
from wtp.transport.limits import check_mtu
from wtp.transport.trust import Trust

FLUSH_S = 5.0
"""How long the end may take once it was asked for."""
LAST_FLUSH_S = 0.5
"""How long it takes beyond that when the router is silent or the broker gives no receipts."""

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes inputs over one session.

    Args:
        settings: Profile.
        inputs: What to publish.
        name: The publisher's name; empty: the host's.
        trust: How to judge the router's certificate; nothing set: see `trust_for`.
        duration_s: Seconds after which to end; 0 for never.
        count: Objects of each input after which to end; 0 for all.
        wait: Wait for a router as long as it takes.

    Raises:
        UsageError: No input, or a name or number that is not allowed.
    """

    def __init__(
        self,
        settings: Settings,
        inputs: Sequence[Input],
        *,
        name: str = "",
        trust: Trust | None = None,
        duration_s: float = 0.0,
        count: int = 0,
        wait: bool = False,
    ) -> None:
        if not inputs:
            raise UsageError("There is nothing to publish.", hint="Choose at least one input.")
        self._settings = settings
        self._inputs = list(inputs)
        self._name = check_name("publisher", name or clean_name(socket.gethostname()))
        self._room = check_name("room", settings.rooms.room)
        url, shown_url = room_url(settings.router.url, self._room)
        track_names(inputs)
        self._target = Target(
            url=url,
            shown_url=shown_url,
            name=self._name,
            instance=secrets.token_hex(8),
            trust=trust_for(url, trust or Trust(), certs_folder(settings)),
            mtu=check_mtu(settings.router.mtu),
            wait=wait,
        )
        self._duration_s = duration_s
        self._count = count
        self._clock = Clock()
        self._feeds: list[Feed] = []
        self._connection: Connection | None = None
        self._stopping = asyncio.Event()
        self._expired = False
        self._began_us = monotonic_us()
        self._ended_us: int | None = None

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Publish until every input has ended, or until `stop`.

        Args:
            ready: Called once when the router has taken every track.

        Raises:
            WtpError: An input cannot be used, no session is possible, or the router refuses.
        """
        self._feeds = await asyncio.to_thread(
            open_feeds, self._inputs, self._name, self._settings.publish, self._clock, self._count
        )
        tracks = {feed.track.spec.alias: feed.track for feed in self._feeds}
        self._connection = connection = Connection(self._target, tracks, self._clock)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(connection.run())
                group.create_task(self._work(connection, ready))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        finally:
            for feed in self._feeds:
                feed.close()
                feed.track.close()
            self._ended_us = monotonic_us()
        self._account()

    def stop(self) -> None:
        """End the inputs, flush and close."""
        self._stopping.set()
        for feed in self._feeds:
            feed.stop()

    def snapshot(self) -> dict[str, Any]:
        """Session and tracks with their ledgers, as plain values."""
        now_us = self._ended_us or monotonic_us()
        return {
            "name": self._name,
            "room": self._room,
            "router": self._target.shown_url,
            "uptime_s": round((now_us - self._began_us) / 1e6, 3),
            **(self._connection.snapshot() if self._connection else {"state": "opening"}),
            "tracks": {
                feed.track.spec.name: {**feed.track.snapshot(), **feed.figures()}
                for feed in self._feeds
            },
        }

    async def _work(self, connection: Connection, ready: Callable[[dict[str, Any]], None]) -> None:
        await either(connection.usable, self._stopping)
        if not self._stopping.is_set():
            self._began_us = monotonic_us()
            ready(self._info(connection))
            await run_feeds(self._feeds, self._duration_s, self._expire)
            done = await self._receipts()
            await connection.finish(FLUSH_S if done else LAST_FLUSH_S)
        else:
            await connection.finish(LAST_FLUSH_S)

    def _info(self, connection: Connection) -> dict[str, Any]:
        figures = connection.snapshot()
        return {
            "url": self._target.shown_url,
            "room": self._room,
            "name": self._name,
            "session": figures.get("session", ""),
            "clock": figures.get("clock", ""),
            "tracks": announced(self._feeds),
        }

    def _expire(self) -> None:
        self._expired = True
        self.stop()

    async def _receipts(self) -> bool:
        """Wait for the receipts of reliable tracks; not for long once an end was asked for.

        Returns:
            Whether all have come.
        """
        reliable = [feed.track for feed in self._feeds if isinstance(feed.track, ReliableTrack)]
        return await until_stopped(_all_receipted(reliable), self._stopping, FLUSH_S)

    def _account(self) -> None:
        """Say what was promised and not kept.

        Raises:
            ConnectionFailed: Reliable objects have no receipt, although nobody asked to end.
        """
        for sentence in unreceipted(self._feeds):
            if self._expired:
                raise ConnectionFailed(sentence, hint="Send them again when the router is back.")
            _log.warning("%s", sentence)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that matters out of (nested) groups: one of ours when there is one."""
    leaves = [
        first_error(error) if isinstance(error, BaseExceptionGroup) else error
        for error in group.exceptions
    ]
    return next((one for one in leaves if isinstance(one, WtpError)), leaves[0])


async def _all_receipted(tracks: Sequence[ReliableTrack]) -> None:
    for track in tracks:
        await track.receipted()
