"""`consume file --save DIR`: files, put together and verified, instead of objects.

For the command line: with kind `file` and `--save`, `Receive(folder, force=..., files=N)` takes the
place of `Save`; reading starts at `earliest` unless the user says otherwise, so that a receiver may
start late or again; `-n N` means N files and goes to `files`, not to `Request.count`. Figures for
`wtp.ui.transfer.receiving` come from `snapshot()`. Without `-n` it goes on until it is stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wtp.consumer.item import Item
from wtp.consumer.output import Finished
from wtp.errors import StorageError
from wtp.transfer.inbox import NO_PART, Inbox

_log = logging.getLogger(__name__)


class Receive:
    """Implements `Output`: puts files together in a folder; a slow disk holds reading up.

    Args:
        folder: Is made when it does not exist.
        force: Whether files that exist may be replaced.
        files: Files that must have come to an end (received, here already, or refused) before it
            ends; 0 for no end.
    """

    inline = False
    lossless = True
    idle_s = 0.1

    def __init__(self, folder: Path, *, force: bool = False, files: int = 0) -> None:
        self._inbox = Inbox(folder, force=force)
        self._files = files

    def open(self) -> None:
        """Make the folder ready.

        Raises:
            StorageError: It cannot be written, or another process receives there.
        """
        self._inbox.open()

    def take(self, items: Sequence[Item]) -> list[str]:
        """Take parts of files.

        Raises:
            StorageError: The disk is full, or a file cannot be written.
            Finished: The files that were wanted have come.
        """
        self._end()
        return [self._take(item) for item in items]

    def idle(self) -> None:
        """End when the files that were wanted have come.

        Raises:
            Finished: They have.
            StorageError: They have, and some of them were refused.
        """
        self._inbox.note()
        self._end()

    def _end(self) -> None:
        """End when the files that were wanted have come.

        Raises:
            Finished: They have.
            StorageError: They have, and some of them were refused.
        """
        if not self._files or self._inbox.settled < self._files:
            return
        if self._inbox.refused:
            raise StorageError(
                f"{self._inbox.refused} of {self._inbox.settled} files were not received.",
                hint="The warnings above say why.",
                code="files-refused",
            )
        raise Finished

    def close(self) -> None:
        """Say what is not whole, and close everything."""
        for sentence in self._inbox.unfinished():
            _log.warning("%s", sentence)
        self._inbox.close()

    def snapshot(self) -> dict[str, Any]:
        """How far it is; from any thread. See `wtp.transfer.inbox.Inbox.figures`."""
        return self._inbox.figures()

    def _take(self, item: Item) -> str:
        if item.obj is None:
            return NO_PART
        if self._files and self._inbox.settled >= self._files:
            return "not-wanted"
        return self._inbox.take(
            item.track, item.instance, item.obj.attributes, item.message.payload
        )
