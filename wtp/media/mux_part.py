"""One file of a recording: gathers what it is made of, then is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from wtp.media.mux import Muxer, MuxTrack, Target
from wtp.media.mux_formats import Container
from wtp.media.mux_shape import Shape
from wtp.media.mux_timing import TrackTimes
from wtp.media.mux_track import BEFORE_START, Piece, Track

TEXT_US = 5_000_000
"""How long a chat line is shown."""

PATIENCE_US = 10_000_000
"""How long pictures that are announced are waited for."""

MAX_GATHERED_BYTES = 32 * 1024 * 1024

Drop = Callable[[str, int], None]


class Part:
    """A container that is about to be written, or is.

    Its head names all its streams, so it is only begun when the tracks are there: a second of the
    recording after the first picture, or as soon as every expected one has come.

    Args:
        container: What is written.
        open_target: Opens where it goes.
        start_us: Capture time at which it starts at the earliest, Unix µs.
        expected: Tracks that are known to go on.
        kinds: Whether pictures, and whether sound are to be waited for.
        gather_us: How long tracks are waited for that nobody announced.
        texts: Title of the track of texts; empty for none.
        title: Of the file.
        drop: Is told why gathered objects are left out, and how many.
    """

    def __init__(
        self,
        container: Container,
        open_target: Callable[[], Target],
        start_us: int,
        expected: Iterable[Track],
        *,
        kinds: frozenset[str] = frozenset(),
        gather_us: int,
        texts: str,
        title: str,
        drop: Drop,
    ) -> None:
        self.start_us = start_us
        self.first_us: int | None = None
        self.last_us = start_us
        self.objects = 0
        self.tracks: list[Track] = []
        self._container, self._open_target = container, open_target
        self._expected, self._kinds = list(expected), kinds
        self._gather_us, self._texts, self._title = gather_us, texts, title
        self._drop = drop
        self._fixed = bool(self._expected)
        self._gathered: list[tuple[Track | None, Piece]] = []
        self._bytes = 0
        self._muxer: Muxer | None = None
        self._shapes: dict[str, Shape] = {}
        self._numbers: dict[str, tuple[int, TrackTimes]] = {}

    @property
    def opened(self) -> bool:
        """Whether its head is written: its streams are fixed."""
        return self._muxer is not None

    def has(self, track: Track) -> bool:
        """Whether a track has a stream in it, or still can get one."""
        return not self.opened or track.title in self._numbers

    def holds(self, track: Track) -> bool:
        """Whether a track has a stream of its present codec in it."""
        shape = self._shapes.get(track.title)
        return shape is not None and track.shape is not None and shape.codec == track.shape.codec

    def add(self, track: Track | None, piece: Piece) -> str:
        """Take an object; None for a track means a text.

        Returns:
            "" when it was taken, else why it was left out.
        """
        if self._muxer is not None:
            return self._write(track, piece)
        self._gathered.append((track, piece))
        self._bytes += len(piece.payload)
        if track is not None and track.shape is not None and track.title not in self._shapes:
            self._shapes[track.title] = track.shape
            self.tracks.append(track)
        self.last_us = max(self.last_us, piece.at_us)
        if self._complete() or self._bytes > MAX_GATHERED_BYTES:
            self.open()
        return ""

    def _complete(self) -> bool:
        """Whether there is nothing more to wait for."""
        if not self.tracks:
            return False
        if self._fixed and all(track in self.tracks for track in self._expected):
            return True
        there = {"sound" if track.sound else "pictures" for track in self.tracks}
        begin_us = self._begin_us()
        waited_us = self.last_us - begin_us
        if not self._fixed and "pictures" in self._kinds - there:
            return waited_us >= PATIENCE_US
        if not self._gather_us and self._kinds <= there:
            return True
        return waited_us >= max(self._gather_us, 0 if self._kinds <= there else 1_000_000)

    def _begin_us(self) -> int:
        """Where the file begins: at a fixed time, at its first picture, or its first sound."""
        if self._fixed:
            return self.start_us
        found = [(track.sound, piece.at_us) for track, piece in self._gathered if track is not None]
        pictures = [at_us for sound, at_us in found if not sound]
        return min(pictures or [at_us for _, at_us in found], default=self.start_us)

    def open(self) -> None:
        """Begin the file with the tracks that are there; does nothing when there is none.

        Raises:
            WtpError: It cannot be opened or begun.
        """
        if self._muxer is not None or not self.tracks:
            return
        for track in self._expected:
            if track.shape is not None and track.title not in self._shapes:
                self._shapes[track.title] = track.shape
                self.tracks.append(track)
        shapes = sorted(self._shapes.items(), key=lambda item: (item[1].sound, item[0]))
        streams = [MuxTrack(shape, title) for title, shape in shapes]
        self._muxer = Muxer(
            self._open_target(), self._container, streams, texts=self._texts, title=self._title
        )
        self._numbers = {
            title: (number, TrackTimes(shape.reorder))
            for number, (title, shape) in enumerate(shapes)
        }
        self.first_us = self._begin_us()
        self.start_us = self.first_us - self._ahead_us()
        gathered, self._gathered = self._gathered, []
        for one, piece in gathered:
            reason = self._write(one, piece)
            if reason:
                self._drop(reason, 1)

    def _ahead_us(self) -> int:
        """By how much decoding begins before showing, so that no time is negative."""
        return max(
            (
                self._shapes[track.title].reorder * max(1, piece.duration_us)
                for track, piece in self._gathered
                if track is not None
            ),
            default=0,
        )

    def _write(self, track: Track | None, piece: Piece) -> str:
        muxer = self._muxer
        if muxer is None:
            return BEFORE_START
        at_us = piece.at_us - self.start_us
        self.last_us = max(self.last_us, piece.at_us + piece.duration_us)
        if track is None or track.shape is None:
            muxer.write_text(piece.payload.decode("utf-8", "replace"), max(0, at_us), TEXT_US)
            return ""
        if at_us < 0:
            return BEFORE_START
        self.objects += 1
        number, times = self._numbers[track.title]
        muxer.pass_time(at_us)
        muxer.write(
            number,
            piece.payload,
            pts_us=at_us,
            dts_us=times.dts_us(at_us, piece.duration_us),
            duration_us=piece.duration_us,
            key=piece.key,
        )
        return ""

    @property
    def duration_us(self) -> int:
        """How long it is so far."""
        return 0 if self.first_us is None else self.last_us - self.first_us

    def close(self, *, unbegun: bool = True) -> None:
        """Complete it.

        Args:
            unbegun: Whether what was only gathered is written.

        Raises:
            WtpError: It cannot be completed.
        """
        if unbegun:
            self.open()
        if self._muxer is not None:
            self._muxer.close()
