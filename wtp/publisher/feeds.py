"""What feeds the tracks: pictures, chat lines, data. Each opens first, and runs once connected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.errors import UsageError
from wtp.model import MAX_BYTES, Kind, check_name
from wtp.publisher.capture import Capture
from wtp.publisher.inputs import (
    CHUNK_BYTES,
    Reader,
    chat_text,
    open_reader,
    read_chunks,
    read_lines,
)
from wtp.publisher.live import LiveTrack, Unit
from wtp.publisher.outgoing import Outgoing
from wtp.publisher.reliable import ReliableTrack
from wtp.publisher.session import TrackSpec

CHAT_TYPE = "text/plain;charset=utf-8"
DATA_TYPE = "application/octet-stream"
_UNITS = {"k": 1e3, "M": 1e6}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VideoInput:
    """Pictures to publish.

    Attributes:
        source: `testsrc`, a path or a URL; a camera's number or device with `camera`.
        camera: Whether it is a camera.
        size: Width and height; None keeps those of the source.
        fps: Pictures per second; None keeps those of the source.
        loop: Start a file again when it ends.
        track: Name of the track; empty: the kind.
    """

    source: str
    camera: bool = False
    size: tuple[int, int] | None = None
    fps: float | None = None
    loop: bool = False
    track: str = ""


@dataclass(frozen=True, slots=True)
class ChatInput:
    """Chat lines from standard input. `track`: name of the track; empty: the kind."""

    track: str = ""


@dataclass(frozen=True, slots=True)
class DataInput:
    """A file or standard input as reliable objects.

    Attributes:
        path: The file, or `-`.
        chunk_bytes: Largest object.
        lines: One object per line instead of chunks.
        track: Name of the track; empty: the kind.
    """

    path: str
    chunk_bytes: int = CHUNK_BYTES
    lines: bool = False
    track: str = ""


Input = VideoInput | ChatInput | DataInput


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


class VideoFeed:
    """Pictures of a source to a live track.

    Args:
        item: What to open.
        alias: Number of the track.
        name: Name of the track.
        settings: Codec and its parameters.
        clock: Own clock.
        count: Pictures after which it ends; 0 for all.

    Raises:
        MediaError: The source or the codec cannot be used.
    """

    def __init__(
        self,
        item: VideoInput,
        alias: int,
        name: str,
        settings: PublishSettings,
        clock: Clock,
        count: int,
    ) -> None:
        from wtp.media.video import VideoEncoder

        source = _open_source(item, clock)
        try:
            encoder = VideoEncoder(
                settings.codec,
                source.width,
                source.height,
                source.fps,
                bitrate_bps=parse_bitrate(settings.bitrate),
                quality=settings.quality,
                gop=settings.gop,
                now_us=clock.now_us,
            )
        except BaseException:
            source.close()
            raise
        self._capture = Capture(source, encoder, clock.now_us, self._deliver, count=count)
        spec = TrackSpec(alias, name, Kind.VIDEO, encoder.content_type)
        self.track = LiveTrack(spec, clock, self._capture.force_key)

    async def run(self) -> None:
        """Capture until the source ends."""
        await self._capture.run()

    def stop(self) -> None:
        """End after the picture under way."""
        self._capture.stop()

    def close(self) -> None:
        """Close the source."""
        self._capture.stop()

    def figures(self) -> dict[str, Any]:
        """Source, size, and what encoding the last picture took."""
        source = self._capture.source
        return {
            "source": source.name,
            "size": f"{source.width}x{source.height}",
            "source_fps": round(source.fps, 3),
            "encode_ms": round(self._capture.encode_us / 1000, 3),
        }

    def _deliver(self, units: Sequence[Unit], lost: int) -> None:
        self.track.lose(lost)
        for unit in units:
            self.track.offer(unit)


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
                self.track.refuse_large()
                _log.warning("Line %d is over %d bytes and was left out.", number, self._most)
                continue
            payload = chat_text(line) if chat else line
            if payload is None:
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


def track_names(inputs: Sequence[Input]) -> list[str]:
    """A name for each track: as given, else its kind, with `-2` and so on from the second on.

    Raises:
        UsageError: A name is not allowed, given twice, or standard input is to be read twice.
    """
    readers = [i for i in inputs if isinstance(i, ChatInput) or getattr(i, "path", "") == "-"]
    readers += [i for i in inputs if isinstance(i, VideoInput) and i.source == "-"]
    if len(readers) > 1:
        raise UsageError(
            "Standard input can feed one track only.",
            hint="Choose one of --chat, --data - and --source -.",
        )
    given = [check_name("track", item.track) for item in inputs if item.track]
    if len(set(given)) < len(given):
        raise UsageError("Two tracks have the same name.", hint="Give each --track another name.")
    taken, names = set(given), []
    for item in inputs:
        kind = _kind(item).value
        number = 1
        name = item.track or kind
        while not item.track and name in taken:
            number += 1
            name = f"{kind}-{number}"
        taken.add(name)
        names.append(name)
    return names


def parse_bitrate(text: str) -> int:
    """`2.5M`, `800k` or a number of bit/s as bit/s (the settings check the form)."""
    return round(float(text.rstrip("kM")) * _UNITS.get(text[-1], 1))


def _kind(item: Input) -> Kind:
    if isinstance(item, VideoInput):
        return Kind.VIDEO
    return Kind.CHAT if isinstance(item, ChatInput) else Kind.DATA


def _open_source(item: VideoInput, clock: Clock) -> Any:
    if item.camera:
        from wtp.media.camera import open_camera

        return open_camera(item.source, size=item.size, fps=item.fps, now_us=clock.now_us)
    from wtp.media.source import open_source

    return open_source(
        item.source, size=item.size, fps=item.fps, loop=item.loop, now_us=clock.now_us
    )


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
        return VideoFeed(item, alias, track, settings, clock, count)
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
    return ReadFeed(
        open_reader(item.path),
        TrackSpec(alias, track, Kind.DATA, CHAT_TYPE if item.lines else DATA_TYPE),
        clock,
        lines=item.lines,
        most=MAX_BYTES[Kind.DATA] if item.lines else item.chunk_bytes,
        attributes={},
        count=count,
    )
