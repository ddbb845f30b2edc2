"""Forcing one topic's appends to the disk: now and then, or once for all receipts that wait."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

from wtp.broker.embedded.files import disk_error, sync_folder
from wtp.broker.embedded.values import FsyncPolicy
from wtp.errors import StorageError


class Syncing:
    """fsync of the files that one log writes.

    Appends run on the loop's thread, `sync` on any other; the lock covers only the exchange of
    descriptors between them, never the fsync itself.

    Args:
        folder: The topic's folder.
        policy: When to force data to the disk.
        appended: Gives the number of entries appended so far.
        failed: Called, on the thread of `sync`, with a sentence when the disk did not take data.

    Attributes:
        synced: Number of entries that are safe on the disk.
        failure: What the disk answered when it did not take them; the log is not written any more,
            since the kernel forgets pages that it could not write.
    """

    def __init__(
        self,
        folder: Path,
        policy: FsyncPolicy,
        appended: Callable[[], int],
        failed: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._policy = policy
        self._appended = appended
        self._failed = failed
        self._lock = threading.Lock()
        self._fd = -1
        self._retired: list[int] = []
        self._new_names = False
        self._running: asyncio.Future[None] | None = None
        self.synced = 0
        self.failure: StorageError | None = None

    @property
    def due(self) -> bool:
        """Whether anything was written since the last sync."""
        return self.synced < self._appended() or bool(self._retired)

    def watch(self, fd: int, *, new_file: bool) -> None:
        """Take up the descriptor that appends go to from now on."""
        with self._lock:
            self._fd = fd
            self._new_names = self._new_names or new_file

    def retire(self) -> None:
        """Nothing is appended to the watched descriptor any more: sync it when due, close it."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0 and self._policy is not FsyncPolicy.NEVER:
                self._retired.append(fd)
            elif fd >= 0:
                os.close(fd)

    def sync(self) -> None:
        """Force everything appended so far to the disk; `failure` tells when it did not work."""
        with self._lock:
            mark = self._appended()
            files, self._retired = self._retired, []
            names, self._new_names = self._new_names, False
            if self._fd >= 0:
                files.append(os.dup(self._fd))
        try:
            for fd in files:
                os.fdatasync(fd)
            if names:
                sync_folder(self._folder)
        except OSError as error:
            self.failure = disk_error("sync", self._folder, error)
            self._failed(f"{self.failure.message} {mark - self.synced} entries may not be on it.")
        else:
            self.synced = max(self.synced, mark)
        finally:
            for fd in files:
                os.close(fd)

    async def wait(self, appended: int) -> None:
        """Wait until that many entries are on the disk; those who wait share one fsync.

        Raises:
            StorageError: The disk did not take them.
        """
        while self.synced < appended:
            if self.failure:
                raise self.failure
            if self._running is None:
                self._running = asyncio.get_running_loop().run_in_executor(None, self.sync)
                self._running.add_done_callback(self._ended)
            await asyncio.shield(self._running)

    def _ended(self, running: asyncio.Future[None]) -> None:
        self._running = None

    def close(self) -> None:
        """Sync (unless the policy is `never`) and close everything."""
        self.retire()
        if self._policy is not FsyncPolicy.NEVER and self.due:
            self.sync()
