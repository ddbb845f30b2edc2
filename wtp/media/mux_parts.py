"""A recording: objects of many tracks go into one file after the other.

A file's streams are fixed when its head is written. So a new file is begun when a track appears
that has none, when a track's codec, size or rate changes, and when one is long enough. Sound
goes over at that time, pictures at their next key picture: until then the file before is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from wtp.errors import MediaError
from wtp.media.mux import Target
from wtp.media.mux_formats import Container
from wtp.media.mux_part import PATIENCE_US, Part
from wtp.media.mux_track import BEFORE_START, CONTAINER, Piece, Track

GATHER_US = 1_000_000
"""How long a recording waits for the tracks of a room after its first picture."""

NO_STREAM = "no-stream"
"""Left out: the one file has no stream for it, and its head is written."""

ACTIVE_US = 10_000_000
"""A track that was silent for so long has no stream in the next file."""


class Parts:
    """Takes a room's objects, in the order of their capture as far as is known, into files.

    Args:
        container: What they are.
        open_target: Opens the file of a number, from 1 on.
        kinds: What is known to come: `pictures`, `sound`, or both.
        texts: Title of the track of texts; empty for none.
        title: Of the files.
        segment_us: A new file after so long, at a key picture; 0 for never.
        gather_us: How long a file waits for tracks before it begins.
        single: There can be one file only, as on a pipe: what has no stream in it is left out.
        note: Is told what happens, for people.
    """

    def __init__(
        self,
        container: Container,
        open_target: Callable[[int], Target],
        *,
        kinds: frozenset[str] = frozenset(),
        texts: str = "",
        title: str = "",
        segment_us: int = 0,
        gather_us: int = GATHER_US,
        single: bool = False,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        """Objects that were taken first and left out when their file began."""
        self._container, self._open_target = container, open_target
        self._kinds, self._texts, self._title = kinds, texts, title
        self._segment_us, self._gather_us = segment_us, gather_us
        self._single, self._note = single, note
        self._tracks: dict[str, Track] = {}
        self._count = 0
        self._old: Part | None = None
        self._new: Part | None = None
        self._closed_us = 0
        self._was_idle = False

    @property
    def count(self) -> int:
        """Files begun or about to be."""
        return self._count

    @property
    def duration_us(self) -> int:
        """Length of all files."""
        return self._closed_us + sum(part.duration_us for part in (self._old, self._new) if part)

    @property
    def tracks(self) -> list[Track]:
        """All tracks that were seen."""
        return list(self._tracks.values())

    def gather(self, more_us: int) -> None:
        """Let the first file wait so much longer for tracks, for what comes is from the past."""
        self._gather_us += more_us

    def take(self, piece: Piece) -> str:
        """Take an object of pictures or sound.

        Returns:
            "" when it was taken, else why it was left out.

        Raises:
            MediaError: The container cannot hold it, and nothing has been written yet.
            StorageError: The disk is full, ...
            BrokenPipeError: The reader has gone.
        """
        self._was_idle = False
        track = self._tracks.get(piece.title)
        if track is None:
            track = self._tracks[piece.title] = Track(piece.title)
        try:
            reason = track.accept(piece, self._container)
        except MediaError as error:
            if self._new is None or not self._new.opened:
                raise
            self._note(f"{error.message} It is left out. {error.hint}")
            return CONTAINER
        if reason:
            return reason
        return self._place(track, piece)

    def take_text(self, piece: Piece) -> str:
        """Take a chat line; those from before the first file are left out."""
        part = self._new
        if part is not None and piece.at_us < part.start_us and self._old is not None:
            part = self._old
        if part is None or not self._texts or (part.opened and piece.at_us < part.start_us):
            return BEFORE_START
        return part.add(None, piece)

    def _place(self, track: Track, piece: Piece) -> str:
        """Put an object into the file it belongs to; begin one when it has none."""
        part = self._new
        if self._single and part is not None and part.opened:
            return part.add(track, piece) if part.holds(track) else NO_STREAM
        if part is None or track.changed or not part.has(track) or self._long_enough(track, piece):
            part = self._cut(piece.at_us)
        if track.part is not part:
            self._cross(track, piece, part)
        if track.part is None:
            return BEFORE_START
        reason = track.part.add(track, piece)
        if self._old is not None:
            self._look_at_old(piece.at_us)
        return reason

    def _long_enough(self, track: Track, piece: Piece) -> bool:
        """Whether a new file is due, and can begin with this object."""
        part, most = self._new, self._container.max_objects
        if part is None or not part.opened or track.part is not part:
            return False
        long = self._segment_us and piece.at_us - part.start_us >= self._segment_us
        if not long and not (most and part.objects >= most):
            return False
        if not track.sound:
            return piece.key
        return all(one.sound or one.part is not part for one in part.tracks)

    def _cut(self, at_us: int) -> Part:
        """Begin another file at a time; tracks go over to it one by one."""
        if self._old is not None:
            self._close_old()
        before = self._new
        expected = [
            track
            for track in self._tracks.values()
            if before is not None and track.shape and track.last_us >= at_us - ACTIVE_US
        ]
        if before is not None:
            before.open()
        self._old = before
        self._count += 1
        number = self._count
        self._new = Part(
            self._container,
            lambda: self._open_target(number),
            at_us,
            expected,
            kinds=self._kinds,
            gather_us=self._gather_us,
            texts=self._texts,
            title=self._title,
            drop=self._drop,
        )
        return self._new

    def _cross(self, track: Track, piece: Piece, part: Part) -> None:
        """Let a track go over to the newest file, if it can here."""
        first = not part.opened and self._old is None
        if first or (piece.at_us >= part.start_us and (track.sound or piece.key)):
            track.part = part

    def _look_at_old(self, now_us: int) -> None:
        """Close the file before once no track needs it any more."""
        old, new = self._old, self._new
        late = new is not None and now_us > new.start_us + PATIENCE_US
        needed = any(
            track.part is old and track.last_us >= now_us - ACTIVE_US
            for track in self._tracks.values()
        )
        if late or not needed:
            self._close_old()

    def _close_old(self) -> None:
        old, self._old = self._old, None
        if old is None:
            return
        for track in self._tracks.values():
            if track.part is old:
                track.part = None
                track.wait_for_key()
        old.close()
        self._closed_us += old.duration_us

    def _drop(self, reason: str, count: int) -> None:
        self.dropped[reason] += count

    def idle(self) -> None:
        """Nothing came for a while, live: do not wait for more tracks."""
        if self._new is not None and self._was_idle:
            self._new.open()
        self._was_idle = True

    def close(self, *, unbegun: bool = True) -> None:
        """Complete all files.

        Args:
            unbegun: Whether a file that only waits for its tracks is written as it is.

        Raises:
            WtpError: One cannot be completed.
        """
        try:
            self._close_old()
        finally:
            new, self._new = self._new, None
            if new is not None:
                new.close(unbegun=unbegun)
                self._closed_us += new.duration_us
