"""One thread that reads a container and hands its pictures and its sound to a queue each.

A file waits while a queue is full. A live source never waits: a queue that is full is emptied and
counted, and goes on at the next unit that can be decoded alone. A live source that is lost is
opened again until it is back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

from wtp.errors import MediaError, UsageError, WtpError
from wtp.media.address import is_url, masked
from wtp.media.container import OTHER_CODEC, UNAUTHORIZED, chosen, interval, open_container, told_us
from wtp.media.frames import av_errors
from wtp.media.lane import Lane, Part, Piece
from wtp.media.pace import Timeline

RETRY_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits before a lost source is opened again; the last one is repeated."""
FIRST_UNITS, FIRST_TIMELESS, FIRST_S = 256, 3, 1.0
"""Units, units without any time, and seconds in which the first of each stream is looked for."""
CUT_US = 500_000
"""By how much a file may be shorter than it claims before it counts as cut."""
LASTING = (UNAUTHORIZED, OTHER_CODEC)
"""Error codes that end a live source."""

_log = logging.getLogger(__name__)

Read = tuple[str, Any, int]
"""Type of the stream, the unit (`av.Packet`), and when it was read."""


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
        self._container = open_container(spec, self.name, self._closed)
        self.types = sorted({s.type for s in self._container.streams})
        self.streams = chosen(self._container, wanted)
        self._told_us = told_us(self._container, self.streams)
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
                if not self.live or error.code in LASTING:
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
                self._container = open_container(self._spec, self.name, self._closed)

    def _check_whole(self, length_us: int) -> None:
        """Say when a file is shorter than it claims to be."""
        if self._told_us - length_us > CUT_US and not self._closed.is_set():
            _log.warning(
                "%s ends in the middle: %.1f of %.1f s are there.",
                self.name, length_us / 1e6, self._told_us / 1e6,
            )  # fmt: skip

    def _read_part(self, base_us: int, again: bool) -> int:
        """Read up to the end; returns how long it was, in µs."""
        streams = chosen(self._container, tuple(self.lanes))
        units = self._units(streams)
        origin, first = self._find_start(units, len(streams))
        self._origin, self._base_us = origin, base_us
        if self.live:
            self.timeline.renew()
        for kind, stream in streams.items():
            context, unit_s = self._prepare(stream), stream.time_base
            self.lanes[kind].put(Part(context, unit_s, origin, base_us, again))
        end = Fraction(0)
        for kind, unit, read_us in chain(first, units):
            self._deliver(kind, unit, read_us)
            time = _time(unit)
            length = (unit.duration or 0) * unit.time_base or interval(streams[kind])
            end = max(end + length if time is None else time - origin + length, end)
            if self._closed.is_set():
                return 0
        return round(end * 1_000_000)

    def _find_start(self, units: Iterator[Read], count: int) -> tuple[Fraction, list[Read]]:
        """Read the first unit of each of `count` streams: the earliest is the start of all."""
        firsts: dict[str, Fraction] = {}
        read: list[Read] = []
        began_us = self._now_us()
        for kind, unit, read_us in units:
            read.append((kind, unit, read_us))
            time = _time(unit)
            if time is not None:
                # Sound before 0 is the priming of its codec: nobody hears it.
                firsts.setdefault(kind, max(time, Fraction(0)) if kind == "audio" else time)
            most = FIRST_UNITS if firsts else FIRST_TIMELESS
            late = read_us - began_us > FIRST_S * 1e6
            if len(firsts) == count or len(read) >= most or late:
                break
        return min(firsts.values(), default=Fraction(0)), read

    def _units(self, streams: dict[str, Any]) -> Iterator[Read]:
        kinds = {stream.index: kind for kind, stream in streams.items()}
        hint = "Check the file with ffprobe, or the network for a URL."
        if self._spec == "-":
            hint = "An mp4 in a pipe needs its index in front: -movflags faststart, or use mpegts."
        with av_errors(f"{self.name} cannot be read on", hint):
            for unit in self._container.demux(list(streams.values())):
                if unit.size:
                    yield kinds[unit.stream.index], unit, self._now_us()

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
                self._container = open_container(self._spec, self.name, self._closed)
            except MediaError as error:
                if error.code in LASTING:
                    raise
                continue
            if set(chosen(self._container, tuple(self.lanes))) == set(self.lanes):
                self.reconnects += 1
                _log.warning("%s is back.", self.name)
                return
            self._container.close()


def _time(unit: Any) -> Fraction | None:
    time = unit.dts if unit.pts is None else unit.pts
    return None if time is None else time * unit.time_base
