"""Own lines to the room: one reliable track on one session with the router."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import Any

from wtp.chat.said import OwnLines, Said
from wtp.clock import Clock
from wtp.config.load import certs_folder
from wtp.config.schema import Settings
from wtp.errors import Refused
from wtp.model import Kind
from wtp.publisher.connection import Connection, Target, either
from wtp.publisher.feeds import CHAT_TYPE
from wtp.publisher.reliable import ReliableTrack
from wtp.publisher.run import FLUSH_S, LAST_FLUSH_S, first_error
from wtp.publisher.running import until_stopped
from wtp.publisher.session import TrackSpec
from wtp.publisher.trust import room_url, trust_for
from wtp.transport.limits import check_mtu
from wtp.transport.trust import Trust

ALIAS = 1
TAKEN = frozenset({"name-taken", "track-taken"})
NAMES = 9
"""How many of one name may talk in a room before a name has to be given."""

_log = logging.getLogger("wtp.chat")


class ChatTrack(ReliableTrack):
    """A track of own lines that tells what becomes of them.

    Args:
        spec: What `publish` announces.
        clock: Own clock.
        own: Is told.
    """

    def __init__(self, spec: TrackSpec, clock: Clock, own: OwnLines) -> None:
        super().__init__(spec, clock)
        self._own = own

    def receipt(self, up_to_seq: int) -> None:
        """The broker has everything up to this sequence."""
        super().receipt(up_to_seq)
        self._own.receipted(up_to_seq)

    def rejected(self, seq: int, code: str, message: str) -> None:
        """The broker will never take this one."""
        super().rejected(seq, code, message)
        self._own.rejected(seq, message)


@dataclass(frozen=True, slots=True)
class Who:
    """Who talks.

    Attributes:
        name: The publisher's name and the author of its lines.
        given: Whether somebody chose it; else another number is tried when it is taken.
        track: Name of the track.
    """

    name: str
    given: bool
    track: str = Kind.CHAT.value


class Sender:
    """Sends own lines, in order, each kept until the broker's receipt.

    Args:
        settings: Router, room, certificates.
        who: Who talks.
        trust: How to judge the router's certificate.
        own: Is told what becomes of each line.
        wait: Wait for a router as long as it takes.

    Attributes:
        name: The name it got.
        usable: Set once lines can be sent.

    Raises:
        UsageError: The router's URL cannot be read.
    """

    def __init__(
        self, settings: Settings, who: Who, trust: Trust, own: OwnLines, *, wait: bool
    ) -> None:
        self.name = who.name
        self.usable = asyncio.Event()
        self._settings, self._who, self._own = settings, who, own
        url, shown_url = room_url(settings.router.url, settings.rooms.room)
        self._url, self.shown_url = url, shown_url
        self._trust = trust_for(url, trust, certs_folder(settings))
        self._mtu = check_mtu(settings.router.mtu)
        self._wait = wait
        self._clock = Clock()
        self._track: ChatTrack | None = None
        self._connection: Connection | None = None
        self._closing = False

    async def run(self) -> None:
        """Keep a session until `finish`; takes the next free name when that is allowed.

        Raises:
            WtpError: No session is possible, or the router refuses.
        """
        for number in range(1, NAMES + 1):
            self.name = self._who.name if number == 1 else f"{self._who.name}-{number}"
            try:
                await self._session()
            except Refused as error:
                again = error.code in TAKEN and not self._who.given and not self.usable.is_set()
                if not again or number == NAMES:
                    raise
                _log.info("The name %s is taken in this room.", self.name)
            else:
                return

    async def _session(self) -> None:
        if self._closing:
            return
        instance = secrets.token_hex(8)
        self._clock = Clock()
        spec = TrackSpec(ALIAS, self._who.track, Kind.CHAT, CHAT_TYPE)
        self._track = track = ChatTrack(spec, self._clock, self._own)
        self._own.instance = instance
        target = Target(
            url=self._url, shown_url=self.shown_url, name=self.name, instance=instance,
            trust=self._trust, mtu=self._mtu, wait=self._wait,
        )  # fmt: skip
        self._connection = connection = Connection(target, {ALIAS: track}, self._clock)
        telling = asyncio.create_task(self._tell(connection))
        try:
            await connection.run()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self, connection: Connection) -> None:
        await connection.usable.wait()
        self.usable.set()

    async def say(self, text: str, style: str = "") -> None:
        """Send a line; waits while too many have no receipt.

        Args:
            text: At most 16 KiB as UTF-8; the caller has looked.
            style: `action` for what the author does.
        """
        assert self._track is not None  # noqa: S101 - it is usable
        attributes = {"author": self.name, **({"style": style} if style else {})}
        payload = text.encode()
        self._own.sending(Said(payload, style, self._clock.now_us()))
        await self._track.offer(payload, attributes)

    async def settle(self, stopping: asyncio.Event) -> bool:
        """Wait for all receipts; no longer than some seconds once an end was asked for.

        Returns:
            Whether all have come.
        """
        if self._track is None:
            return True
        return await until_stopped(self._track.receipted(), stopping, FLUSH_S)

    async def finish(self, settled: bool) -> None:
        """Flush and close.

        Raises:
            BrokerError: Lines were refused for good.
        """
        self._closing = True
        if self._connection is not None:
            await self._connection.finish(FLUSH_S if settled else LAST_FLUSH_S)

    def close(self) -> None:
        """Settle what is still in flight: it is lost."""
        if self._track is not None:
            self._track.close()

    def snapshot(self) -> dict[str, Any]:
        """Session and track as plain values."""
        session = self._connection.snapshot() if self._connection else {"state": "opening"}
        track = self._track.snapshot() if self._track else {}
        return {"name": self.name, "router": self.shown_url, **session, "track": track}


async def usable_or(sender: Sender, stopping: asyncio.Event) -> bool:
    """Wait until lines can be sent; False when an end was asked for first."""
    await either(sender.usable, stopping)
    return not stopping.is_set()
