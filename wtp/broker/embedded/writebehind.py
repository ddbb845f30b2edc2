"""The one thread beside the loop: it writes moved cursors and forces logs to the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from wtp.broker.embedded.topicfolder import TopicFolder
from wtp.broker.embedded.values import FsyncPolicy
from wtp.errors import StorageError

FLUSH_S = 0.1
"""What `wake` announced is in the page cache after this long: many moves become one write."""

INTERVAL_S = 1.0
"""Period of the fsync policy `interval`."""


class WriteBehind:
    """Flushes topics until it is closed.

    Args:
        topics: Gives all topics.
        fsync: The policy.
        report: Takes a sentence about what the disk refused.
    """

    def __init__(
        self,
        topics: Callable[[], Iterable[TopicFolder]],
        fsync: FsyncPolicy,
        report: Callable[[str], None],
    ) -> None:
        self._topics = topics
        self._report = report
        self._interval = fsync is FsyncPolicy.INTERVAL
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="write-behind", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something is to be flushed."""
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """End the thread; what is still to be flushed is left to the caller."""
        self._closing.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        synced_at = time.monotonic()
        while not self._closing.is_set():
            woken = self._wake.wait(INTERVAL_S if self._interval else None)
            if self._closing.wait(FLUSH_S):
                return
            if woken:
                self._wake.clear()
                self._each(TopicFolder.flush)
            if self._interval and time.monotonic() - synced_at >= INTERVAL_S:
                self._each(_sync_log)
                synced_at = time.monotonic()

    def _each(self, action: Callable[[TopicFolder], None]) -> None:
        for topic in self._topics():
            try:
                action(topic)
            except StorageError as error:
                self._report(str(error))
                self._wake.set()  # Tries again.


def _sync_log(topic: TopicFolder) -> None:
    log = topic.log
    if log is not None:
        log.sync()
