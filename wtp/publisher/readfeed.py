"""Lines or chunks of a file or standard input to a reliable track."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from wtp.clock import Clock
from wtp.model import Kind
from wtp.publisher.inputs import Reader, chat_text, read_chunks, read_lines
from wtp.publisher.outgoing import NOT_TEXT, TOO_LARGE
from wtp.publisher.reliable import ReliableTrack
from wtp.publisher.session import TrackSpec

_log = logging.getLogger(__name__)


class ReadFeed:
    """Lines or chunks of a reader to a reliable track.

    Args:
        reader: What to read.
        spec: What `publish` announces.
        clock: Own clock.
        lines: Whether an object is a line; else what one read returns.
        most: Largest object in bytes.
        attributes: Of every object.
        count: Objects after which it ends; 0 for all.
    """

    def __init__(
        self,
        reader: Reader,
        spec: TrackSpec,
        clock: Clock,
        *,
        lines: bool,
        most: int,
        attributes: Mapping[str, str],
        count: int,
    ) -> None:
        self.track = ReliableTrack(spec, clock)
        self._reader = reader
        self._lines = lines
        self._most = most
        self._attributes = attributes
        self._count = count
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False

    async def run(self) -> None:
        """Read to the end."""
        self._task = asyncio.current_task()
        try:
            if not self._stopped:
                await (self._read_lines() if self._lines else self._read_chunks())
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        finally:
            self._task = None
            self.close()

    def stop(self) -> None:
        """Read no more; what was taken is still delivered."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def figures(self) -> dict[str, Any]:
        """What is read."""
        return {"source": self._reader.name}

    async def _read_chunks(self) -> None:
        taken = 0
        async for data in read_chunks(self._reader, self._most):
            await self.track.offer(data, self._attributes)
            taken += 1
            if taken == self._count:
                return

    async def _read_lines(self) -> None:
        number = taken = 0
        chat = self.track.spec.kind is Kind.CHAT
        async for line in read_lines(self._reader, self._most):
            number += 1
            if line is None:
                self.track.refuse(TOO_LARGE)
                _log.warning("Line %d is over %d bytes and was left out.", number, self._most)
                continue
            payload = chat_text(line) if chat else line
            if payload is None:
                self.track.refuse(NOT_TEXT)
                _log.warning("Line %d is not UTF-8 text and was left out; use --data.", number)
                continue
            if not payload:
                continue
            await self.track.offer(payload, self._attributes)
            taken += 1
            if taken == self._count:
                return
