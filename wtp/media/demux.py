"""One thread that reads a container and hands its pictures and its sound to a queue each.

A file waits while a queue is full. A live source never waits: a queue that is full is emptied and
counted, and goes on at the next unit that can be decoded alone. A live source that is lost is
opened again until it is back.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from wtp.errors import MediaError, UsageError, WtpError
from wtp.media.address import is_url, masked
from wtp.media.frames import av_errors
from wtp.media.libraries import load_av
from wtp.media.pace import Timeline

OPEN_S, READ_S = 10.0, 10.0
"""How long a URL may take to open, and to deliver the next bytes."""
LIVE_READ_S = 5.0
"""How long a live source may be silent before it counts as lost."""
RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits before a lost source is opened again; the last one is repeated."""

READ_AHEAD = 64
"""Units read ahead of each stream of a file: about two seconds of video."""
MOST_AHEAD, MOST_AHEAD_BYTES = 4096, 32 * 1024 * 1024
"""Units and bytes read ahead when another stream of the file waits: it is badly interleaved."""
LIVE_UNITS = 256
"""Units of a live source that wait before they are dropped."""
FIRST_UNITS, FIRST_TIMELESS, FIRST_S = 256, 3, 1.0
"""Units, units without any time, and seconds in which the first of each stream is looked for."""

CUT_US = 500_000
"""By how much a file may be shorter than it claims before it counts as cut."""

_POLL_S = 0.1
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """The source was opened (again): what it says of the units that follow.

    Attributes:
        context: What decodes or frames its units: it outlives the container, and belongs to the
            thread that takes them.
        unit_s: What its times count, in seconds.
        origin: Its time at which the source starts, in seconds.
        base_us: Time of that start within everything delivered, in µs.
        again: Whether a lost source is back.
    """

    context: Any
    unit_s: Fraction
    origin: Fraction
    base_us: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """One coded unit of a stream (`av.Packet`), and when it was read."""

    unit: Any
    arrived_us: int


Item = Part | Piece | WtpError | None
"""What a queue holds; an error or None is the end."""


class Lane:
    """The queue of one stream, from the reading thread to the one that takes.

    Attributes:
        open: Whether somebody takes from it.
        late: Units of a live source that were dropped since nobody took them in time.
    """

    def __init__(self, changed: threading.Condition) -> None:
        self.late = 0
        self._changed = changed
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._skipping = False
        self.open = True

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Add an item, whatever waits already."""
        with self._changed:
            if self.open:
                self._items.append(item)
                self._bytes += _size(item)
                self._changed.notify_all()

    def put_live(self, piece: Piece) -> None:
        """Add a unit; a full queue is emptied, and goes on at a unit that starts a group."""
        with self._changed:
            if len(self) >= LIVE_UNITS:
                self._drop(len(self))
                self._skipping = True
            if self._skipping and not piece.unit.is_keyframe:
                self.late += 1
                return
            self._skipping = False
            self.put(piece)

    def freshen(self) -> None:
        """Drop what waits before the last unit that starts a group."""
        with self._changed:
            keys = [
                at
                for at, item in enumerate(self._items)
                if isinstance(item, Piece) and item.unit.is_keyframe
            ]
            self._drop(keys[-1] if keys else 0)

    def _drop(self, count: int) -> None:
        """Drop units among the first `count` items; what else is there stays."""
        head = [self._items.popleft() for _ in range(count)]
        kept = [item for item in head if not isinstance(item, Piece)]
        self.late += len(head) - len(kept)
        self._bytes -= sum(map(_size, head))
        self._items.extendleft(reversed(kept))

    def items(self) -> Iterator[Part | Piece]:
        """Take what comes until the end.

        Raises:
            WtpError: The source failed.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or not self.open)
                if not self.open:
                    return
                item = self._items.popleft()
                self._bytes -= _size(item)
                self._changed.notify_all()
            if item is None:
                return
            if isinstance(item, WtpError):
                raise item
            yield item

    def close(self) -> None:
        """Take no more; safe from any thread."""
        with self._changed:
            self.open = False
            self._items.clear()
            self._bytes = 0
            self._changed.notify_all()

    def crowded(self, hungry: bool) -> bool:
        """Whether the reader has to wait; `hungry`: another stream has nothing."""
        if not self.open:
            return False
        if hungry:
            return len(self) >= MOST_AHEAD or self._bytes >= MOST_AHEAD_BYTES
        return len(self) >= READ_AHEAD


class Demuxer:
    """Reads a file, a URL or standard input.

    Args:
        spec: Path, URL, or `-`.
        loop: Start a file again at its end.
        now_us: The clock for stamps.
        pace: False delivers a file as fast as it is taken.
        wanted: Types of streams, `video` and `audio`; the first of each is taken.

    Attributes:
        name: What it is, for people, without passwords.
        live: Whether it is a live source (a URL without a duration).
        lanes: Queue by type of stream, for those that there are.
        streams: The first part's stream by type.
        timeline: Due times and stamps of all of them.
        reconnects: How often a live source was lost and came back.

    Raises:
        MediaError: It cannot be opened.
        UsageError: `-` is to be looped.
    """

    def __init__(
        self,
        spec: str,
        *,
        loop: bool = False,
        now_us: Callable[[], int],
        pace: bool = True,
        wanted: tuple[str, ...] = ("video",),
    ) -> None:
        if loop and spec == "-":
            raise UsageError("Standard input cannot be looped.", hint="Give a file, or no --loop.")
        self.name = "standard input" if spec == "-" else masked(spec)
        self.reconnects = 0
        self._spec = spec
        self._loop = loop
        self._now_us = now_us
        self._origin, self._base_us = Fraction(0), 0
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._container = self._open()
        self.types = sorted({s.type for s in self._container.streams})
        self.streams = chosen(self._container, wanted)
        self._told_us = self._container.duration or 0
        self.live = is_url(spec) and self._container.duration is None
        self.timeline = Timeline(
            now_us, paced=pace and not self.live, live=self.live, stalls=spec == "-"
        )
        self.lanes = {kind: Lane(self._changed) for kind in self.streams}
        self._prepare: Callable[[Any], Any] = lambda stream: stream.codec_context
        self._thread = threading.Thread(target=self._work, name="demux", daemon=True)

    def start(self, prepare: Callable[[Any], Any] | None = None) -> None:
        """Begin to read.

        Args:
            prepare: Makes what a `Part` holds as `context`, of a stream that is open; default: its
                `av.CodecContext`.
        """
        self._prepare = prepare or self._prepare
        self._thread.start()

    def close(self) -> None:
        """End every queue and give the source back; a read of a URL ends by its time limit."""
        self._closed.set()
        self.timeline.pacer.close()
        for lane in self.lanes.values():
            lane.close()
        if not self._thread.ident:
            self._container.close()

    def leave(self, kind: str) -> None:
        """Read a stream no more; the last one that leaves closes the source."""
        self.lanes[kind].close()
        if not any(lane.open for lane in self.lanes.values()):
            self.close()

    def _work(self) -> None:
        last: WtpError | None = None
        try:
            self._read_all()
        except WtpError as error:
            last = error
        except Exception as error:  # noqa: BLE001 - the border of the thread: told to the takers
            last = MediaError(f"{self.name} failed: {error}.", hint="See WTP_DEBUG=1.")
        finally:
            self._container.close()
            for lane in self.lanes.values():
                lane.put(last)

    def _read_all(self) -> None:
        base_us, again = 0, False
        while not self._closed.is_set():
            try:
                length_us = self._read_part(base_us, again)
            except MediaError as error:
                if not self.live:
                    raise
                reason = error.message
            else:
                if not self.live and not (self._loop and length_us):
                    self._check_whole(length_us)
                    return
                base_us += length_us
                reason = f"{self.name} has ended."
            self._container.close()
            if self._closed.is_set():
                return
            if self.live:
                self._return(reason)
                again = True
            else:
                self._container = self._open()

    def _check_whole(self, length_us: int) -> None:
        """Say when a file is shorter than it claims to be."""
        told_us = self._told_us
        if told_us - length_us > CUT_US and not self._closed.is_set():
            _log.warning(
                "%s ends in the middle: %.1f of %.1f s are there.",
                self.name, length_us / 1e6, told_us / 1e6,
            )  # fmt: skip

    def _read_part(self, base_us: int, again: bool) -> int:
        """Read up to the end; returns how long it was, in µs."""
        streams = chosen(self._container, tuple(self.lanes))
        waiting: list[tuple[str, Any, int]] = []
        began_us = self._now_us()
        firsts: dict[str, Fraction] = {}
        origin: Fraction | None = None
        end = Fraction(0)
        for kind, unit in self._units(streams):
            time = _time(unit)
            if origin is None:
                waiting.append((kind, unit, self._now_us()))
                if time is not None:
                    # Sound before 0 is the priming of its codec: nobody hears it.
                    firsts.setdefault(kind, max(time, Fraction(0)) if kind == "audio" else time)
                most = FIRST_UNITS if firsts else FIRST_TIMELESS
                soon = self._now_us() - began_us < FIRST_S * 1e6
                if len(firsts) < len(streams) and len(waiting) < most and soon:
                    continue
                origin = self._begin(streams, firsts, base_us, again)
                for held in waiting:
                    self._deliver(*held)
            else:
                self._deliver(kind, unit, self._now_us())
            length = (unit.duration or 0) * unit.time_base or interval(streams[kind])
            end = max(end + length if time is None else time - origin + length, end)
            if self._closed.is_set():
                return 0
        if origin is None and waiting:
            origin = self._begin(streams, firsts, base_us, again)
            for kind, unit, read_us in waiting:
                self._deliver(kind, unit, read_us)
                end = max(end, (_time(unit) or 0) - origin + interval(streams[kind]))
        return round(end * 1_000_000)

    def _begin(
        self, streams: dict[str, Any], firsts: dict[str, Fraction], base_us: int, again: bool
    ) -> Fraction:
        origin = min(firsts.values(), default=Fraction(0))
        self._origin, self._base_us = origin, base_us
        if self.live:
            self.timeline.renew()
        for kind, stream in streams.items():
            context, unit_s = self._prepare(stream), stream.time_base
            self.lanes[kind].put(Part(context, unit_s, origin, base_us, again))
        return origin

    def _units(self, streams: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        kinds = {stream.index: kind for kind, stream in streams.items()}
        hint = "Check the file with ffprobe, or the network for a URL."
        with av_errors(f"{self.name} cannot be read on", hint):
            for unit in self._container.demux(list(streams.values())):
                if unit.size:
                    yield kinds[unit.stream.index], unit

    def _deliver(self, kind: str, unit: Any, read_us: int) -> None:
        lane = self.lanes[kind]
        piece = Piece(unit, read_us)
        if self.live:
            self._observe(kind, unit, read_us)
            lane.put_live(piece)
        else:
            self._wait_for_room(lane)
            lane.put(piece)

    def _observe(self, kind: str, unit: Any, read_us: int) -> None:
        if unit.pts is not None:
            length = (unit.duration or 0) * unit.time_base if kind == "audio" else 0
            at_us = round((unit.pts * unit.time_base + length - self._origin) * 1_000_000)
            self.timeline.observe(self._base_us + at_us, read_us)

    def _wait_for_room(self, lane: Lane) -> None:
        others = [other for other in self.lanes.values() if other is not lane and other.open]
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed.is_set() or not lane.crowded(any(not o for o in others))
            )

    def _return(self, reason: str) -> None:
        """Open a lost live source again, as long as it takes.

        Raises:
            MediaError: It lets us in no more.
        """
        _log.warning("%s Trying again until it is back.", reason)
        tries = 0
        while not self._closed.wait(RETRY_S[min(tries, len(RETRY_S) - 1)]):
            tries += 1
            try:
                self._container = self._open()
            except MediaError as error:
                if error.code == UNAUTHORIZED:
                    raise
                continue
            if set(chosen(self._container, tuple(self.lanes))) == set(self.lanes):
                self.reconnects += 1
                _log.warning("%s is back.", self.name)
                return
            self._container.close()

    def _open(self) -> Any:
        av = load_av()
        target = _StandardInput(self._closed) if self._spec == "-" else self._spec
        url = is_url(self._spec)
        what = "URL, and that its server runs" if url else "path"
        hint = f"Check the {what}; `wtp publish --source testsrc` needs no file."
        with av_errors(f"{self.name} cannot be opened", hint):
            try:
                return av.open(
                    target,
                    options=_options(self._spec),
                    timeout=(OPEN_S, LIVE_READ_S if self._spec.startswith("rtsp") else READ_S),
                )
            except (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError) as error:
                raise MediaError(
                    f"{self.name} does not let us in: user name or password is wrong.",
                    hint="Write them into the URL: rtsp://USER:PASSWORD@HOST/PATH; special "
                    "characters in them as %XX.",
                    code=UNAUTHORIZED,
                ) from error
            except av.error.InvalidDataError as error:
                raise MediaError(
                    f"{self.name} cannot be opened: it is no video, or damaged.",
                    hint="Try it with ffprobe; `wtp publish --source testsrc` needs no file.",
                ) from error


UNAUTHORIZED = "unauthorized"
"""Error code of a source that refuses user name and password."""


def chosen(container: Any, wanted: tuple[str, ...]) -> dict[str, Any]:
    """The first stream of each wanted type; cover pictures of sound files are none."""
    found: dict[str, Any] = {}
    for stream in container.streams:
        if stream.type in wanted and not (stream.type == "video" and _is_cover(stream)):
            found.setdefault(stream.type, stream)
    return found


class _StandardInput:
    """Standard input for PyAV: a read that `close` ends, unlike FFmpeg's own of a pipe."""

    def __init__(self, closed: threading.Event) -> None:
        if sys.stdin is None:
            raise MediaError(
                "Standard input is closed.", hint="Give the video with `<FILE` or a pipe."
            )
        self._closed = closed
        self._descriptor = sys.stdin.fileno()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end or when closed."""
        while not self._closed.is_set():
            ready, _, _ = select.select([self._descriptor], [], [], _POLL_S)
            if ready:
                return os.read(self._descriptor, size)
        return b""


def _options(spec: str) -> dict[str, str]:
    """FFmpeg's options: RTSP over TCP, and little delay for what is live."""
    if not is_url(spec) or spec.startswith(("http://", "https://", "file:")):
        return {}
    # Pictures a second are not counted first: RTSP opens in 0.5 s instead of 1.8 s.
    quick = {"analyzeduration": "2000000", "fpsprobesize": "0"}
    return quick | ({"rtsp_transport": "tcp"} if spec.startswith("rtsp") else {})


def _is_cover(stream: Any) -> bool:
    """Whether it is the cover picture of a sound file, which FFmpeg also calls a video stream."""
    return bool(stream.disposition & load_av().stream.Disposition.attached_pic)


def _time(unit: Any) -> Fraction | None:
    time = unit.dts if unit.pts is None else unit.pts
    return None if time is None else time * unit.time_base


def picture_interval(stream: Any) -> Fraction:
    """Nominal time between two pictures in seconds."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return 1 / Fraction(min(max(rate, Fraction(1, 10)), Fraction(1000)))


def interval(stream: Any) -> Fraction:
    """Nominal length of a unit in seconds: of a picture by its rate, of sound a guess."""
    return picture_interval(stream) if stream.type == "video" else Fraction(1, 50)


def _size(item: Item) -> int:
    return int(item.unit.size) if isinstance(item, Piece) else 0
