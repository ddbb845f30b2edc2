"""Files of the original platform's metrics (`wtp router --metrics-dir DIR`): written, cut, bounded.

    buffer_metrics_YYYYmmdd_HHMMSS.csv   one line per session and second, see ``bufferrows``
    buffer_events_YYYYmmdd_HHMMSS.log    sessions that come and end, drops, the broker, refusals
    buffer_metrics_units.txt             every column with its unit and meaning

Times are UTC. A file that has a sixteenth of the bound begins anew; then the oldest files in the
folder go, also those of earlier runs, until all of them fit. All work on files is done by one
thread: a slow or full disk never holds the router up. Once started, a disk that cannot be written
costs lines (`lost`), never objects.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wtp.errors import StorageError

METRICS, EVENTS = "buffer_metrics", "buffer_events"
UNITS = "buffer_metrics_units.txt"
_OURS = re.compile(rf"({METRICS}_\d{{8}}_\d{{6}}(_\d+)?\.csv|{EVENTS}_\d{{8}}_\d{{6}}(_\d+)?\.log)")

PARTS = 16
"""A file may have this part of the bound: what is deleted at a time is little, too."""

WAITING = 64
"""Batches of lines that wait for the disk; one comes each second. The newest is lost when full."""

CLOSE_S = 2.0
"""How long the disk gets at the end to take what waits."""

log = logging.getLogger("wtp.router")


@dataclass(frozen=True, slots=True)
class Lines:
    """What is to be written at once: lines with their ends; either may be empty."""

    metrics: str = ""
    events: str = ""

    @property
    def count(self) -> int:
        """How many lines these are."""
        return self.metrics.count("\n") + self.events.count("\n")


class BufferFiles:
    """The folder and its two open files.

    Args:
        folder: Is made when it is missing.
        bound_bytes: Of all files together.
        header: First line of every metrics file, without its end.
        units: Text of the file that explains the columns.

    Raises:
        StorageError: The folder cannot be written.
    """

    def __init__(self, folder: Path, bound_bytes: int, header: str, units: str) -> None:
        self.folder = folder
        self.lost = 0
        """Lines that the disk did not take."""
        self._bound_bytes = bound_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / UNITS).write_text(units, encoding="utf-8")
            self._metrics = _Part(folder, METRICS, ".csv", header + "\n")
            self._events = _Part(folder, EVENTS, ".log", "")
            self._parts = (self._metrics, self._events)
            self._cut(0)
        except OSError as error:
            raise StorageError(
                f"Metrics files cannot be written to {folder}: {error.strerror}.",
                hint="Give a folder with rights and space: --metrics-dir DIR.",
            ) from error
        self._queue: queue.Queue[Lines | None] = queue.Queue(WAITING)
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="metrics-files", daemon=True)
        self._thread.start()

    def put(self, lines: Lines) -> None:
        """Take lines; never blocks."""
        if not lines.count:
            return
        try:
            self._queue.put_nowait(lines)
        except queue.Full:
            self._lose(lines, "the disk does not keep up")

    def close(self) -> None:
        """Write what waits and close the files; gives up on a disk that hangs. Blocks."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_S)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.warning("metrics files in %s: the disk did not take the last lines", self.folder)

    def _work(self) -> None:
        while (lines := self._queue.get()) is not None:
            try:
                self._cut(len(lines.metrics) + len(lines.events))
                self._metrics.write(lines.metrics)
                self._events.write(lines.events)
            except OSError as error:
                self._lose(lines, error.strerror or str(error))
            else:
                if self._failing:
                    self._failing = False
                    log.warning("metrics files in %s are written again", self.folder)
        for part in self._parts:
            part.close()

    def _lose(self, lines: Lines, why: str) -> None:
        self.lost += lines.count
        if not self._failing:
            self._failing = True
            log.warning(
                "metrics files in %s: %s; lines are lost, routing goes on", self.folder, why
            )

    def _cut(self, coming_bytes: int) -> None:
        """Begin new files where one is missing or has its size, and make room for them."""
        most = self._bound_bytes // PARTS
        due = [part for part in self._parts if part.size_bytes >= most or part.gone()]
        if due:
            self._make_room(most * len(self._parts) + coming_bytes)
            for part in due:
                part.begin()

    def _make_room(self, needed_bytes: int) -> None:
        """Delete the oldest files until so much fits."""
        open_now = {part.path for part in self._parts}
        files = []
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name):
                with contextlib.suppress(FileNotFoundError):
                    state = path.lstat()
                    files.append((state.st_mtime_ns, path.name, path, state.st_size))
        total = sum(size for *_, size in files) + needed_bytes
        for _, _, path, size in sorted(files):
            if total <= self._bound_bytes:
                return
            if path not in open_now:
                path.unlink(missing_ok=True)
                total -= size


class _Part:
    """One of the two files that are written now.

    Args:
        folder: Where.
        stem: First part of its name.
        suffix: Last part.
        header: What every file begins with.
    """

    def __init__(self, folder: Path, stem: str, suffix: str, header: str) -> None:
        self.path: Path | None = None
        self.size_bytes = 0
        self._folder, self._stem, self._suffix, self._header = folder, stem, suffix, header
        self._descriptor = -1

    def begin(self) -> None:
        """Go on in a new file.

        Raises:
            OSError: It cannot be made; then it goes on in the old one, if there is one.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path, descriptor = self._create()
        head = self._header.encode()
        try:
            _append(descriptor, head, 0)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        self.close()
        self.path, self._descriptor, self.size_bytes = path, descriptor, len(head)

    def _create(self) -> tuple[Path, int]:
        moment = time.strftime("%Y%m%d_%H%M%S", time.gmtime())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        number = 1
        while True:
            more = f"_{number}" if number > 1 else ""
            path = self._folder / f"{self._stem}_{moment}{more}{self._suffix}"
            try:
                return path, os.open(path, flags, 0o644)
            except FileExistsError:
                number += 1

    def write(self, text: str) -> None:
        """Append all of it, or none.

        Raises:
            OSError: The disk does not take it.
        """
        data = text.encode()
        _append(self._descriptor, data, self.size_bytes)
        self.size_bytes += len(data)

    def gone(self) -> bool:
        """Whether somebody has moved or deleted it."""
        try:
            there = os.stat(self.path or "")
        except OSError:
            return True
        return not os.path.samestat(there, os.fstat(self._descriptor))

    def close(self) -> None:
        """Close it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _append(descriptor: int, data: bytes, size_bytes: int) -> None:
    """Append all, or leave the file at the size it had."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size_bytes)
        raise


def explained(columns: Sequence[tuple[str, str, str]]) -> str:
    """The text about columns: name, unit and meaning of each."""
    wide = max(len(name) for name, _, _ in columns)
    broad = max(len(unit) for _, unit, _ in columns)
    lines = [f"{name:<{wide}}  {unit:<{broad}}  {text}" for name, unit, text in columns]
    head = f"{'column':<{wide}}  {'unit':<{broad}}  meaning"
    return "\n".join([head, *lines]) + "\n"
