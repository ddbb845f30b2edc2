"""Durable subscriptions' cursors: one small file per topic, written behind the loop's back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wtp.broker.embedded.files import read_json, write_json
from wtp.broker.embedded.values import EARLIEST, CursorState, Position

MAX_RANGES = 10_000
"""Single acknowledgements kept per cursor (Pulsar's managedLedgerMaxUnackedRangesToPersist): what
is above is delivered again after a kill."""

SYNC_S = 1.0
"""Cursors that move are forced to the disk this often."""


class CursorFile:
    """The cursors of one topic.

    The loop calls `save` and `delete`; another thread calls `flush`. A cursor that moves forward is
    written at the next flush: losing that step only repeats deliveries. A new cursor, one that goes
    back and one that is deleted are written at once: losing that would skip messages.

    Args:
        path: The file.
        sync: Force it to the disk.
        report: Told about damage.
    """

    def __init__(self, path: Path, *, sync: bool, report: Callable[[str], None]) -> None:
        self._path = path
        self._sync = sync
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._dirty = False
        self._synced_at = 0.0
        found = read_json(path, report)
        self._states = {name: _from_json(value) for name, value in (found or {}).items()}

    def load(self) -> dict[str, CursorState]:
        """Return the cursors by subscription name."""
        return dict(self._states)

    def save(self, subscription: str, state: CursorState) -> bool:
        """Keep a cursor; tells whether a flush is due.

        Raises:
            StorageError: It had to be written at once, and the disk refuses; nothing has changed.
        """
        before = self._states.get(subscription)
        if before == state:
            return False
        if before is None or _goes_back(before, state):
            self._change(subscription, state)
            return False
        with self._lock:
            self._states[subscription] = state
            self._dirty = True
        return True

    def delete(self, subscription: str) -> None:
        """Forget a cursor.

        Raises:
            StorageError: The disk refuses; nothing has changed.
        """
        if subscription in self._states:
            self._change(subscription, None)

    def discard(self) -> None:
        """The topic is being deleted: write nothing any more."""
        with self._writing, self._lock:
            self._dirty = False

    def marks(self) -> list[Position]:
        """Return the mark-delete positions of all cursors."""
        return [state.mark_delete for state in self._states.values()]

    def flush(self, *, force: bool = False) -> None:
        """Write what `save` left for later; `force` also forces it to the disk.

        Raises:
            StorageError: The disk refuses; the next flush tries again.
        """
        with self._writing:
            with self._lock:
                if not self._dirty:
                    return
                self._dirty = False
                states = dict(self._states)
            now = time.monotonic()
            sync = self._sync and (force or now - self._synced_at >= SYNC_S)
            try:
                write_json(self._path, _to_json(states), sync=sync)
            except BaseException:
                self._dirty = True
                raise
            if sync:
                self._synced_at = now

    def _change(self, subscription: str, state: CursorState | None) -> None:
        with self._writing:
            states = dict(self._states)
            if state is None:
                del states[subscription]
            else:
                states[subscription] = state
            write_json(self._path, _to_json(states), sync=self._sync)
            with self._lock:
                self._states = states
                self._dirty = False


def _goes_back(before: CursorState, state: CursorState) -> bool:
    if state.mark_delete != before.mark_delete:
        return state.mark_delete < before.mark_delete
    return bool(before.acked and not state.acked) or before.properties != state.properties


def _to_json(states: dict[str, CursorState]) -> dict[str, Any]:
    return {
        name: {
            "mark": state.mark_delete,
            "acked": [[*first, *last] for first, last in state.acked[:MAX_RANGES]],
            "properties": dict(state.properties),
        }
        for name, state in states.items()
    }


def _from_json(value: dict[str, Any]) -> CursorState:
    acked = tuple((Position(a, b), Position(c, d)) for a, b, c, d in value.get("acked", ()))
    mark = Position(*value.get("mark", EARLIEST))
    return CursorState(mark, acked, value.get("properties", {}))
