"""What feeds the tracks: each input opens first, and runs once there is a session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.errors import UsageError
from wtp.model import MAX_BYTES, Kind
from wtp.publisher.choice import ChatInput, DataInput, Input, VideoInput, track_names
from wtp.publisher.inputs import Reader, chat_text, open_reader, read_chunks, read_lines
from wtp.publisher.outgoing import NOT_TEXT, TOO_LARGE, Outgoing
from wtp.publisher.pictures import VideoFeed
from wtp.publisher.reliable import ReliableTrack
from wtp.publisher.session import TrackSpec

if TYPE_CHECKING:
    from wtp.media.source import Source

CHAT_TYPE = "text/plain;charset=utf-8"
DATA_TYPE = "application/octet-stream"

_log = logging.getLogger(__name__)


class Feed(Protocol):
    """One input with its track."""

    @property
    def track(self) -> Outgoing:
        """What it feeds."""
        ...

    async def run(self) -> None:
        """Feed the track until the input ends or `stop`; raises what the input raises."""
        ...

    def stop(self) -> None:
        """End `run` soon."""
        ...

    def close(self) -> None:
        """Give the input back."""
        ...

    def figures(self) -> dict[str, Any]:
        """What a snapshot says beside the track's own figures."""
        ...


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


def open_feeds(
    inputs: Sequence[Input], name: str, settings: PublishSettings, clock: Clock, count: int
) -> list[Feed]:
    """Open every input; blocks, for a thread.

    Args:
        inputs: What to publish, in the order of their aliases from 1.
        name: The publisher's, which becomes the author of chat lines.
        settings: Codec and its parameters.
        clock: Own clock.
        count: Objects of each input; 0 for all.

    Raises:
        MediaError: One of them cannot be used; those before it are closed again.
        UsageError: Two tracks have one name, or two inputs read standard input.
    """
    names = track_names(inputs)
    feeds: list[Feed] = []
    try:
        for alias, (item, track) in enumerate(zip(inputs, names, strict=True), 1):
            feeds.append(_open_feed(item, alias, track, name, settings, clock, count))
    except BaseException:
        for feed in feeds:
            feed.close()
        raise
    return feeds


def _open_feed(
    item: Input,
    alias: int,
    track: str,
    author: str,
    settings: PublishSettings,
    clock: Clock,
    count: int,
) -> Feed:
    if isinstance(item, VideoInput):
        return VideoFeed(
            _open_source(item, clock), alias, track, Kind.VIDEO, settings, clock, count
        )
    if isinstance(item, ChatInput):
        return ReadFeed(
            open_reader("-"),
            TrackSpec(alias, track, Kind.CHAT, CHAT_TYPE),
            clock,
            lines=True,
            most=MAX_BYTES[Kind.CHAT],
            attributes={"author": author},
            count=count,
        )
    if not isinstance(item, DataInput):
        raise UsageError(f"{type(item).__name__} is not there yet.", hint="Choose another input.")
    return ReadFeed(
        open_reader(item.path),
        TrackSpec(alias, track, Kind.DATA, CHAT_TYPE if item.lines else DATA_TYPE),
        clock,
        lines=item.lines,
        most=MAX_BYTES[Kind.DATA] if item.lines else item.chunk_bytes,
        attributes={},
        count=count,
    )


def _open_source(item: VideoInput, clock: Clock) -> Source:
    if item.camera:
        from wtp.media.camera import open_camera

        return open_camera(item.source, size=item.size, fps=item.fps, now_us=clock.now_us)
    from wtp.media.source import open_source

    return open_source(
        item.source, size=item.size, fps=item.fps, loop=item.loop, now_us=clock.now_us
    )
