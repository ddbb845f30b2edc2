"""The thread beside the loop: fsync by interval, retries after the disk refused."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broker_storage.logs import TOPIC
from wtp.broker.embedded import cursors, writebehind
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.values import EARLIEST, CursorState, FsyncPolicy
from wtp.errors import StorageError


def wait_for(what: Callable[[], bool]) -> None:
    """Wait until something holds, at most 10 s."""
    pause = threading.Event()
    for _ in range(1000):
        if what():
            return
        pause.wait(0.01)
    pytest.fail("it did not happen within 10 s")


def test_the_interval_policy_syncs_without_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writebehind, "INTERVAL_S", 0.02)
    monkeypatch.setattr(writebehind, "FLUSH_S", 0.01)
    synced: list[str] = []
    real = os.fdatasync

    def watched(fd: int) -> None:
        synced.append(threading.current_thread().name)
        real(fd)

    store = Store(tmp_path, FsyncPolicy.INTERVAL)
    monkeypatch.setattr(os, "fdatasync", watched)
    log = store.open_topic(TOPIC)
    log.append(b"x", 1, 1)
    wait_for(lambda: bool(synced))
    assert set(synced) == {"write-behind"}
    wait_for(lambda: not log._appender.syncing.due)
    count = len(synced)
    threading.Event().wait(0.1)
    assert len(synced) == count
    store.close()


def test_a_flush_that_failed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writebehind, "FLUSH_S", 0.01)
    store = Store(tmp_path, FsyncPolicy.NEVER)
    log = store.open_topic(TOPIC)
    store.save_cursor(TOPIC, "s", CursorState(EARLIEST))
    position = log.append(b"x", 1, 1)
    refused: list[bool] = []

    def refuse(*args: object, **more: object) -> None:
        refused.append(True)
        raise StorageError("No room.")

    monkeypatch.setattr(cursors, "write_json", refuse)
    store.save_cursor(TOPIC, "s", CursorState(position))
    wait_for(lambda: len(refused) > 2)
    assert store.damage == ["No room."]
    file = tmp_path / "topics/public/default/video/cursors.json"
    before = file.read_bytes()
    monkeypatch.undo()
    wait_for(lambda: file.read_bytes() != before)
    store.close()
    store = Store(tmp_path, FsyncPolicy.NEVER)
    assert store.load_cursors(TOPIC) == {"s": CursorState(position)}
    store.close()


def test_closing_unlocks_even_when_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writebehind, "FLUSH_S", 30.0)
    store = Store(tmp_path, FsyncPolicy.NEVER)
    log = store.open_topic(TOPIC)
    store.save_cursor(TOPIC, "s", CursorState(EARLIEST))
    store.save_cursor(TOPIC, "s", CursorState(log.append(b"x", 1, 1)))

    def refuse(*args: object, **more: object) -> None:
        raise StorageError("No room.")

    monkeypatch.setattr(cursors, "write_json", refuse)
    with pytest.raises(StorageError, match="No room"):
        store.close()
    monkeypatch.undo()
    Store(tmp_path, FsyncPolicy.NEVER).close()
