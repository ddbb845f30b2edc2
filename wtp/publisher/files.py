"""Files as a feed: announced, sent in chunks, ended with their SHA-256; resumed after any break.

While the command runs the track itself sends again what has no receipt. For the next run a journal
in WTP_HOME/spool says how much of each file the broker has; when all is there it is removed, so
that publishing the same files once more sends them whole. That is also the way to give a receiver
what retention has taken from it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wtp.clock import Clock, monotonic_us
from wtp.config.load import home
from wtp.config.schema import PublishSettings
from wtp.errors import MediaError, StorageError, UsageError, WtpError
from wtp.model import Kind, clean_name
from wtp.publisher.filetrack import FileTrack
from wtp.publisher.session import TrackSpec
from wtp.transfer.names import shown
from wtp.transfer.parts import (
    CONTENT_TYPE,
    MAX_CHUNKS,
    Announcement,
    End,
    Void,
    chunk_attributes,
    write_announcement,
    write_end,
    write_void,
)
from wtp.transfer.reading import ChunkReader
from wtp.transfer.spool import DONE, Spool
from wtp.transfer.walk import Entry, find

CHUNK_BYTES = Kind.FILE.max_bytes
"""Size of a chunk: each costs a receipt on its way back, so half as large ones took a sixth more
CPU at both ends of the session (measured on loopback)."""
WEBSOCKET_CHUNK_BYTES = 512 * 1024
"""The same without a router: in base64 it passes the 1 MiB text frames of Pulsar's WebSocket API
(webSocketMaxTextFrameSize)."""
NOTE_S = 0.2
"""How often the journal is written while receipts come."""

_log = logging.getLogger(__name__)


class FilesFeed:
    """Files and folders, one after the other. The constructor looks at them: for a thread.

    Args:
        paths: Files and folders.
        alias: Of the track.
        name: Of the track.
        settings: Not used: files have no settings of their own.
        clock: Own clock.
        publisher: Name of the publisher; empty: the host's. Journals of two names are two.
        room: The room, where the session does not say it (`--via pulsar-ws`); without it a later
            run begins anew.
        chunk_bytes: Size of a chunk; 0 chooses it.

    Raises:
        MediaError: A path cannot be read.
        UsageError: Two files would have the same name, or there is nothing to send.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        alias: int,
        name: str,
        settings: PublishSettings,
        clock: Clock,
        *,
        publisher: str = "",
        room: str = "",
        chunk_bytes: int = 0,
    ) -> None:
        self.track = FileTrack(TrackSpec(alias, name, Kind.FILE, CONTENT_TYPE), clock)
        self.track.settled = self._settled
        self._roots = [str(path.absolute()) for path in paths]
        self._found = find(paths)
        self._owner = publisher or clean_name(socket.gethostname())
        self._room = room
        self._chunk_bytes = chunk_bytes
        self._transfer = ""
        self._spool: Spool | None = None
        self._had: dict[str, int] = {}
        self._unsaved: dict[str, int] = {}
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False
        self._current = ""
        self._done = self._resumed_bytes = self._receipted_bytes = 0
        self._began_us = self._ended_us = 0
        self._faults: list[WtpError] = []

    async def run(self) -> None:
        """Send everything and wait for the receipts; returns early after `stop`.

        Raises:
            MediaError: A file could not be read to its end; all others are sent.
        """
        self._task = asyncio.current_task()
        self._began_us = monotonic_us()
        try:
            if not self._stopped:
                for sentence in self._found.skipped:
                    _log.warning("%s", sentence)
                await self._run()
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        finally:
            self._task = None
            self._ended_us = monotonic_us()
        if self._faults and not self._stopped:
            raise self._faults[0]

    def stop(self) -> None:
        """Send no more; what was taken is still delivered, the next run sends the rest."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """Note what the broker has, or forget it when that is everything."""
        spool, self._spool = self._spool, None
        if spool is None:
            return
        if self._done == len(self._found.entries):
            spool.remove()
            return
        _log.warning(
            "%d of %d files are sent; the same command goes on from there.",
            self._done,
            len(self._found.entries),
        )
        try:
            spool.write(self._unsaved)
        except StorageError as error:
            _log.warning("%s", error)
        spool.close()

    def figures(self) -> dict[str, Any]:
        """What is sent, and `transfer`: how far it is (see `wtp.ui.transfer`)."""
        found = self._found
        count = len(found.entries)
        roots = [shown(Path(root).name or root) for root in self._roots]
        spent_us = (self._ended_us or monotonic_us()) - self._began_us if self._began_us else 0
        return {
            "source": roots[0] if len(roots) == 1 else f"{count} files",
            "transfer": {
                "files": count,
                "done": self._done,
                "failed": len(self._faults) + len(self.track.lost),
                "name": shown(self._current),
                "total_bytes": found.total_bytes,
                "bytes": self._resumed_bytes + self._receipted_bytes,
                "resumed_bytes": self._resumed_bytes,
                "bytes_per_s": self._receipted_bytes * 1e6 / spent_us if spent_us else 0.0,
            },
        }

    # One file after the other

    async def _run(self) -> None:
        self._transfer = self._identity()
        await self._open_spool()
        async with asyncio.TaskGroup() as group:
            noting = group.create_task(self._note())
            await self._send_all()
            await self.track.receipted()
            noting.cancel()

    async def _open_spool(self) -> None:
        room, _ = self._place()
        if not room:
            return
        spool = Spool(home() / "spool", self._transfer)
        try:
            self._had = await asyncio.to_thread(spool.open)
        except (StorageError, UsageError) as error:
            _log.warning("%s If this run is broken off, the next one begins anew.", error.message)
        else:
            self._spool = spool

    async def _send_all(self) -> None:
        for number, entry in enumerate(self._found.entries, 1):
            self._current = entry.name
            one = self._announcement(entry, number)
            have = self._had.get(one.file, 0)
            if have == DONE:
                self._done += 1
                self._resumed_bytes += entry.size_bytes
                continue
            if entry.folder:
                await self.track.send(*write_announcement(one), DONE)
                continue
            try:
                await self._send_file(entry, one, min(have, one.chunks))
            except MediaError as error:
                self._faults.append(error)
                _log.warning("%s", error)
                await self.track.send(*write_void(Void(one.file, error.message)), 0)
        self._current = ""

    async def _send_file(self, entry: Entry, one: Announcement, have: int) -> None:
        reader = await asyncio.to_thread(ChunkReader, entry, one.chunk_bytes)
        try:
            await self.track.send(*write_announcement(one), have)
            while not await asyncio.to_thread(reader.skip, have):
                pass
            self._resumed_bytes += min(have * one.chunk_bytes, entry.size_bytes)
            await self._send_chunks(reader, one.file)
            end = End(one.file, reader.sha256(), entry.size_bytes)
            await self.track.send(*write_end(end), DONE)
        finally:
            await asyncio.to_thread(reader.close)

    async def _send_chunks(self, reader: ChunkReader, file: str) -> None:
        """Read one chunk while the one before is sent."""
        index = reader.index

        def read() -> tuple[bytes, dict[str, str]]:
            payload = reader.read()
            return payload, chunk_attributes(file, reader.index - 1, payload)

        reading = asyncio.create_task(asyncio.to_thread(read))
        try:
            while True:
                payload, attributes = await reading
                if not payload:
                    return
                index += 1
                reading = asyncio.create_task(asyncio.to_thread(read))
                await self.track.send(payload, attributes, index)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    # Who is who

    def _place(self) -> tuple[str, str]:
        return self.track.place or (self._room, "")

    def _identity(self) -> str:
        """What tells this transfer from others: what is sent, by whom, and where to."""
        return _digest("transfer", *self._place(), self._owner, self.track.spec.name, *self._roots)

    def _announcement(self, entry: Entry, number: int) -> Announcement:
        chunk_bytes = CHUNK_BYTES if self.track.place else WEBSOCKET_CHUNK_BYTES
        if entry.size_bytes > WEBSOCKET_CHUNK_BYTES * MAX_CHUNKS:
            chunk_bytes = CHUNK_BYTES
        chunk_bytes = self._chunk_bytes or chunk_bytes
        about = (self._owner, str(entry.path.absolute()), entry.name, entry.size_bytes)
        return Announcement(
            file=_digest("file", *about, entry.modified_ns, chunk_bytes),
            transfer=self._transfer,
            name=entry.name,
            size_bytes=entry.size_bytes,
            modified_us=max(0, entry.modified_ns // 1000),
            chunk_bytes=chunk_bytes,
            folder=entry.folder,
            number=number,
            files=len(self._found.entries),
            total_bytes=self._found.total_bytes,
        )

    # Receipts

    def _settled(self, file: str, chunks: int, size: int) -> None:
        self._receipted_bytes += size
        self._done += chunks == DONE
        self._unsaved[file] = chunks

    async def _note(self) -> None:
        """Write the journal from time to time; without one a later run would begin anew."""
        while self._spool is not None:
            await asyncio.sleep(NOTE_S)
            counts, self._unsaved = self._unsaved, {}
            try:
                await asyncio.to_thread(self._spool.write, counts)
            except StorageError as error:
                _log.warning("%s A later run will send again what is not noted.", error)
                return


def _digest(*parts: object) -> str:
    text = json.dumps([str(part) for part in parts])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
