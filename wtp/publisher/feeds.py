"""What feeds the tracks: each input opens first, and runs once there is a session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.errors import MediaError
from wtp.model import MAX_BYTES, Kind
from wtp.publisher.choice import (
    ChatInput,
    DataInput,
    FileInput,
    Input,
    MicrophoneInput,
    ScreenInput,
    VideoInput,
    name_tracks,
    track_names,
)
from wtp.publisher.inputs import open_reader
from wtp.publisher.outgoing import Outgoing
from wtp.publisher.pictures import VideoFeed
from wtp.publisher.readfeed import ReadFeed
from wtp.publisher.session import TrackSpec

if TYPE_CHECKING:
    from wtp.media.demux import Demuxer
    from wtp.media.sound import SoundSource
    from wtp.media.source import Source

CHAT_TYPE = "text/plain;charset=utf-8"
DATA_TYPE = "application/octet-stream"
OPUS_HZ = 48_000

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


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that is open and wants a track.

    Attributes:
        kind: Of the track.
        track: Its given name; empty: the kind.
        feed: Makes the feed, from alias and name of the track; closes the source when it fails.
        close: Gives the source back, as long as it has no feed.
    """

    kind: Kind
    track: str
    feed: Callable[[int, str], Feed]
    close: Callable[[], None]


def open_feeds(
    inputs: Sequence[Input], name: str, settings: PublishSettings, clock: Clock, count: int
) -> list[Feed]:
    """Open every input; blocks, for a thread.

    Args:
        inputs: What to publish, in the order of their aliases from 1. A source with sound beside
            its pictures gives two feeds.
        name: The publisher's, which becomes the author of chat lines.
        settings: Codec and its parameters.
        clock: Own clock.
        count: Objects of each track; 0 for all.

    Raises:
        MediaError: One of them cannot be used; those before it are closed again.
        UsageError: Two tracks have one name, or two inputs read standard input.
    """
    track_names(inputs)
    opened: list[Opened] = []
    feeds: list[Feed] = []
    try:
        for item in inputs:
            opened += _open(item, name, settings, clock, count)
        names = name_tracks([(one.kind, one.track) for one in opened])
        for alias, (one, track) in enumerate(zip(opened, names, strict=True), 1):
            feeds.append(one.feed(alias, track))
    except BaseException:
        for feed in feeds:
            feed.close()
        for one in opened[len(feeds) :]:
            one.close()
        raise
    return feeds


def _open(
    item: Input, author: str, settings: PublishSettings, clock: Clock, count: int
) -> list[Opened]:
    match item:
        case VideoInput():
            if item.camera or item.source == "testsrc":
                return [_pictures(Kind.VIDEO, item.track, _open_live(item, clock), settings, clock,
                                  count)]  # fmt: skip
            return list(_open_container(item, settings, clock, count))
        case ScreenInput():
            from wtp.media.screen import open_screen

            source = open_screen(item.screen, size=item.size, fps=item.fps, now_us=clock.now_us)
            return [_pictures(Kind.SCREEN, item.track, source, settings, clock, count)]
        case MicrophoneInput(device="testsrc"):
            from wtp.media.testtone import ToneSource

            tone = ToneSource(settings.rate, settings.channels, now_us=clock.now_us)
            return [_sound(item.track, tone, settings, clock, count)]
        case MicrophoneInput():
            from wtp.media.microphone import open_microphone

            microphone = open_microphone(
                item.device,
                rate_hz=settings.rate,
                channels=settings.channels,
                denoise=settings.denoise,
                now_us=clock.now_us,
            )
            return [_sound(item.track, microphone, settings, clock, count)]
        case FileInput():
            return [_files(item, author, settings, clock)]
        case _:
            return [_lines(item, author, clock, count)]


def _open_live(item: VideoInput, clock: Clock) -> Source:
    if item.camera:
        from wtp.media.camera import open_camera

        return open_camera(item.source, size=item.size, fps=item.fps, now_us=clock.now_us)
    from wtp.media.source import open_source

    return open_source(item.source, size=item.size, fps=item.fps, now_us=clock.now_us)


def _open_container(
    item: VideoInput, settings: PublishSettings, clock: Clock, count: int
) -> Iterator[Opened]:
    """A file, URL or standard input: its pictures, and the sound beside them.

    Raises:
        MediaError: It cannot be opened, or holds neither.
    """
    from wtp.media.demux import Demuxer

    wanted = ("video", "audio") if item.sound else ("video",)
    demuxer = Demuxer(item.source, loop=item.loop, now_us=clock.now_us, wanted=wanted)
    try:
        if item.copy:
            yield from _copies(demuxer, item, clock, count)
            return
        sound = _file_sound(demuxer, settings)
        demuxer.start()
        if "video" in demuxer.streams or sound is None:
            from wtp.media.file import FileSource

            source = FileSource(demuxer, size=item.size, fps=item.fps, now_us=clock.now_us)
            yield _pictures(Kind.VIDEO, item.track, source, settings, clock, count)
        if sound is not None:
            both = item.track and "video" in demuxer.streams
            name = f"{item.track}-audio" if both else item.track
            yield _sound(name, sound, settings, clock, count)
    except BaseException:
        demuxer.close()
        raise


def _file_sound(demuxer: Demuxer, settings: PublishSettings) -> SoundSource | None:
    """The sound of a source; None when there is none, or it cannot be decoded, which is said."""
    if "audio" not in demuxer.streams:
        return None
    from wtp.media.filesound import FileSound

    try:
        return FileSound(demuxer, rate_hz=OPUS_HZ if settings.audio_codec == "opus" else None)
    except MediaError as error:
        _log.warning("%s It is left out.", error.message)
        demuxer.leave("audio")
        return None


def _copies(demuxer: Demuxer, item: VideoInput, clock: Clock, count: int) -> Iterator[Opened]:
    from wtp.media.copy import open_copies
    from wtp.publisher.copying import CopyFeed

    for source in open_copies(demuxer):
        kind = Kind.VIDEO if source.type == "video" else Kind.AUDIO
        both = item.track and kind is Kind.AUDIO and "video" in demuxer.streams

        def feed(alias: int, track: str, source: Any = source, kind: Kind = kind) -> Feed:
            return CopyFeed(source, alias, track, kind, clock, count)

        yield Opened(kind, f"{item.track}-audio" if both else item.track, feed, source.close)


def _pictures(
    kind: Kind, track: str, source: Source, settings: PublishSettings, clock: Clock, count: int
) -> Opened:
    def feed(alias: int, name: str) -> Feed:
        from wtp.media.source import Returning

        made = VideoFeed(source, alias, name, kind, settings, clock, count)
        if isinstance(source, Returning):
            source.returned = made.track.ask_key
        return made

    return Opened(kind, track, feed, source.close)


def _sound(
    track: str, source: SoundSource, settings: PublishSettings, clock: Clock, count: int
) -> Opened:
    def feed(alias: int, name: str) -> Feed:
        from wtp.publisher.sound import SoundFeed

        return SoundFeed(source, alias, name, settings, clock, count)

    return Opened(Kind.AUDIO, track, feed, source.close)


def _files(item: FileInput, author: str, settings: PublishSettings, clock: Clock) -> Opened:
    def feed(alias: int, name: str) -> Feed:
        from wtp.publisher.files import FilesFeed

        return FilesFeed(item.paths, alias, name, settings, clock, publisher=author)

    return Opened(Kind.FILE, item.track, feed, lambda: None)


def _lines(item: ChatInput | DataInput, author: str, clock: Clock, count: int) -> Opened:
    chat = isinstance(item, ChatInput)
    kind = Kind.CHAT if chat else Kind.DATA
    reader = open_reader("-" if isinstance(item, ChatInput) else item.path)
    lines = isinstance(item, ChatInput) or item.lines
    most = MAX_BYTES[kind]
    if isinstance(item, DataInput) and not item.lines:
        most = item.chunk_bytes

    def feed(alias: int, name: str) -> Feed:
        return ReadFeed(
            reader,
            TrackSpec(alias, name, kind, CHAT_TYPE if lines else DATA_TYPE),
            clock,
            lines=lines,
            most=most,
            attributes={"author": author} if chat else {},
            count=count,
        )

    return Opened(kind, item.track, feed, reader.close)
