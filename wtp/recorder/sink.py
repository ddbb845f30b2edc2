"""Where a replay's objects become a recording: a thread of its own that writes files."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from wtp.consumer.pieces import as_script, piece_of
from wtp.consumer.worker import Worker
from wtp.errors import StorageError, WtpError
from wtp.media.libraries import load_av
from wtp.media.mux_parts import Parts
from wtp.media.mux_track import BEFORE_START, Piece
from wtp.recorder.files import PartFile
from wtp.recorder.joining import Joining
from wtp.recorder.request import RecordRequest
from wtp.replayer.placed import Placed

LOGGER = logging.getLogger("wtp.recorder")

IDLE_S = 0.5

CLOSE_S = 30.0
"""What completing the files may take on a slow disk; without that they are playable all the same,
but an mp4 has no index."""


class RecordSink:
    """Takes played objects into files.

    Args:
        request: What is recorded, and where.
        title: Of the files.
        note: Is told what happens.
    """

    idle_s = IDLE_S

    def __init__(
        self,
        request: RecordRequest,
        *,
        title: str = "",
        note: Callable[[str], None] = LOGGER.warning,
    ) -> None:
        self.files: list[PartFile] = []
        self._request, self._title, self._note = request, title, note
        self._worker: Worker | None = None
        self._parts: Parts | None = None
        self._joining: Joining | None = None
        self._failed = False
        self._script = request.container.subtitle == "webvtt"

    async def begin(
        self, kinds: frozenset[str], *, texts: bool, live_from_us: int | None = None
    ) -> None:
        """Make ready; opens no file yet.

        Args:
            kinds: What is known to come: `pictures`, `sound`, or both.
            texts: Whether there is a track of chat.
            live_from_us: When the recording begins, if what comes before it is there only to begin
                with key pictures; Unix µs.

        Raises:
            MissingLibrary: PyAV is not there.
        """
        load_av()
        self._joining = None if live_from_us is None else Joining(live_from_us)
        self._worker = Worker("record")
        self._parts = Parts(
            self._request.container,
            self._open_file,
            kinds=kinds,
            texts="chat" if texts else "",
            title=self._title,
            segment_us=round(self._request.segment_s * 1e6),
            note=self._note,
        )

    async def open(self, topics: Sequence[str]) -> None:
        """Nothing to do: `begin` did it."""

    def _open_file(self, number: int) -> PartFile:
        file = PartFile(self._request.part(number), force=self._request.force)
        self.files.append(file)
        return file

    async def take(self, items: Sequence[Placed]) -> list[str]:
        """Write objects."""
        reasons: list[str] = await self._call(self._take, items)
        return reasons

    def _take(self, items: Sequence[Placed]) -> list[str]:
        parts = self._parts
        if parts is None or self._failed:
            return ["stopped"] * len(items)
        reasons = []
        try:
            for item in items:
                piece, text, reason = piece_of(item.message, item.at_us)
                if piece is None:
                    reasons.append(reason)
                elif text:
                    if self._script:
                        piece = piece._replace(payload=as_script(piece.payload.decode()).encode())
                    reasons.append(BEFORE_START if self._joining else parts.take_text(piece))
                elif self._joining is not None:
                    self._join(self._joining, parts, piece, live=item.live)
                    reasons.append("")
                else:
                    reasons.append(parts.take(piece))
        except WtpError:
            self._failed = True
            raise
        return reasons

    def _join(self, joining: Joining, parts: Parts, piece: Piece, *, live: bool) -> None:
        """Hold an object of the past, or begin with all that is held."""
        begun = joining.take(piece, live=live)
        if begun is None:
            return
        self._joining = None
        parts.dropped[BEFORE_START] += joining.left_out
        parts.gather(begun[-1].at_us - begun[0].at_us)
        for one in begun:
            reason = parts.take(one)
            if reason:
                parts.dropped[reason] += 1

    async def idle(self) -> None:
        """Do not wait for ever for more tracks when nothing comes."""
        await self._call(self._idle)

    def _idle(self) -> None:
        if self._parts is not None and not self._failed:
            self._parts.idle()

    async def close(self) -> None:
        """Nothing to do: `finish` does it once all readers have ended."""

    async def finish(self) -> None:
        """Complete all files.

        Raises:
            StorageError: The disk is full; what was written before is playable.
        """
        if self._worker is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._call(self._close)
        except TimeoutError:
            raise StorageError(
                "The disk takes too long to complete the recording.",
                hint="What is written can be played; `ffmpeg -i FILE -c copy NEW` completes it.",
            ) from None
        finally:
            self._worker.close()

    def _close(self) -> None:
        try:
            if self._joining is not None and self._parts is not None:
                self._joining.close()
                self._parts.dropped[BEFORE_START] += self._joining.left_out
            if self._parts is not None:
                self._parts.close(unbegun=not self._failed)
        finally:
            for file in self.files:
                file.close()

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._worker is None:
            return function(*args)
        return await self._worker.call(function, *args)

    def snapshot(self) -> dict[str, Any]:
        """Figures of the files: may be called while they are written.

        Returns:
            `parts` (file and its bytes), `file_bytes`, `recorded_us`, `left_out` by reason.
        """
        files, parts = list(self.files), self._parts
        return {
            "parts": [{"file": str(file.path), "bytes": file.size_bytes} for file in files],
            "file_bytes": sum(file.size_bytes for file in files),
            "recorded_us": parts.duration_us if parts else 0,
            "left_out": dict(parts.dropped) if parts else {},
        }
