"""The track of files: a reliable one that tells what the broker has of each file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from wtp.clock import Clock
from wtp.publisher.outgoing import Line
from wtp.publisher.reliable import ReliableTrack
from wtp.publisher.session import TrackSpec
from wtp.transfer.parts import FILE, PART

WINDOW_BYTES = 7 * 1024 * 1024
"""What may wait for receipts: less than the 8 MiB that a router takes before it pushes back."""
AHEAD_BYTES = 1024 * 1024
"""What may be unacknowledged in the transport before the next chunk: as much as a router lets one
stream have under way. Live objects pass it (see `wtp.transport.session.BULK`)."""


class FileTrack(ReliableTrack):
    """A reliable track that tells what the broker has of each file."""

    def __init__(self, spec: TrackSpec, clock: Clock) -> None:
        super().__init__(spec, clock, window_bytes=WINDOW_BYTES, ahead_bytes=AHEAD_BYTES)
        self.place: tuple[str, str] | None = None
        """Where it goes: the room and the router, once there was a session that says so."""
        self.settled: Callable[[str, int, int], None] = lambda file, chunks, size: None
        """Told of each receipted object: its file, the chunks that are there, its bytes."""
        self._marks: deque[tuple[int, str, int, int]] = deque()
        self.lost: set[str] = set()
        """Files of which the broker will never take an object."""

    async def send(self, payload: bytes, attributes: Mapping[str, str], chunks: int) -> None:
        """Take an object.

        Args:
            payload: Its bytes.
            attributes: Its own strings.
            chunks: How many chunks of its file the broker has once this one is there; `DONE` for
                the whole file.
        """
        if await self.offer(payload, attributes):
            file = attributes[FILE]
            size = len(payload) if attributes[PART] == "chunk" else 0
            if file not in self.lost:
                self._marks.append((self._last_seq, file, chunks, size))

    def attach(self, line: Line, last_seq: int) -> None:
        """The router took the track."""
        query = getattr(line.streams, "query", None)
        if isinstance(query, Mapping):
            self.place = (str(query.get("room", "")), str(getattr(line.streams, "peer", "")))
        super().attach(line, last_seq)

    def receipt(self, up_to_seq: int) -> None:
        """The broker has everything up to this sequence."""
        super().receipt(up_to_seq)
        while self._marks and self._marks[0][0] <= up_to_seq:
            _, file, chunks, size = self._marks.popleft()
            self.settled(file, chunks, size)

    def rejected(self, seq: int, code: str, message: str) -> None:
        """The broker will never take this object: its file is not there, whatever follows."""
        super().rejected(seq, code, message)
        lost = {file for number, file, _, _ in self._marks if number == seq}
        self.lost |= lost
        self._marks = deque(mark for mark in self._marks if mark[1] not in lost)
        for file in lost:
            self.settled(file, 0, 0)
