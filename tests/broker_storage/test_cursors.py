"""Cursors and sequence tables, across kills."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.broker_storage.logs import TOPIC, Logs, blob, varint
from tests.broker_storage.test_store import kill
from wtp.broker.embedded import cursors as cursor_module
from wtp.broker.embedded.cursors import CursorFile
from wtp.broker.embedded.sequences import MAX_PRODUCERS, SequenceFile, sequence_of
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.values import EARLIEST, LATEST, CursorState, FsyncPolicy, Position
from wtp.errors import StorageError

POSITIONS = st.builds(Position, st.integers(-1, 2**63 - 1), st.integers(-1, 2**63 - 1))
STATES = st.builds(
    CursorState,
    POSITIONS,
    st.lists(st.tuples(POSITIONS, POSITIONS), max_size=4).map(tuple),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)


def cursors(path: Path, *, sync: bool = False) -> CursorFile:
    return CursorFile(path / "cursors.json", sync=sync, report=pytest.fail)


@given(states=st.dictionaries(st.text(min_size=1, max_size=8), STATES, max_size=4))
def test_cursors_come_back(
    tmp_path_factory: pytest.TempPathFactory, states: dict[str, CursorState]
) -> None:
    folder = tmp_path_factory.mktemp("topic")
    file = cursors(folder)
    for name, state in states.items():
        file.save(name, state)
    assert cursors(folder).load() == states


@given(steps=st.lists(STATES, min_size=2, max_size=6))
def test_a_kill_repeats_but_never_skips(
    tmp_path_factory: pytest.TempPathFactory, steps: list[CursorState]
) -> None:
    """Without any flush, the file is never ahead of the newest state."""
    folder = tmp_path_factory.mktemp("topic")
    file = cursors(folder)
    for state in steps:
        file.save("s", state)
        assert cursors(folder).load()["s"].mark_delete <= state.mark_delete


def test_what_is_written_at_once_and_what_later(tmp_path: Path) -> None:
    file = cursors(tmp_path)
    assert not file.save("s", CursorState(EARLIEST))
    assert cursors(tmp_path).load() == {"s": CursorState(EARLIEST)}
    forward = CursorState(Position(1, 5), ((Position(1, 7), Position(1, 7)),))
    assert file.save("s", forward)
    assert not file.save("s", forward)
    assert cursors(tmp_path).load() == {"s": CursorState(EARLIEST)}
    file.flush()
    assert cursors(tmp_path).load() == {"s": forward}
    for back in (CursorState(Position(1, 5)), CursorState(Position(1, 2))):
        assert not file.save("s", back)
        assert cursors(tmp_path).load() == {"s": back}
    file.delete("s")
    file.delete("never there")
    assert cursors(tmp_path).load() == {}


def test_a_cursor_that_cannot_be_written_does_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cursors(tmp_path)
    file.save("s", CursorState(Position(1, 5)))

    def full(*args: object, **more: object) -> None:
        raise StorageError("full")

    monkeypatch.setattr(cursor_module, "write_json", full)
    for change in (
        lambda: file.save("s", CursorState(EARLIEST)),
        lambda: file.save("t", CursorState(EARLIEST)),
        lambda: file.delete("s"),
    ):
        with pytest.raises(StorageError):
            change()
    assert file.load() == {"s": CursorState(Position(1, 5))}
    assert file.save("s", CursorState(Position(1, 9)))
    with pytest.raises(StorageError):
        file.flush()
    monkeypatch.undo()
    file.flush()
    assert cursors(tmp_path).load() == {"s": CursorState(Position(1, 9))}


def test_too_many_single_acknowledgements_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursor_module, "MAX_RANGES", 10)
    file = cursors(tmp_path)
    ranges = tuple((Position(1, n), Position(1, n)) for n in range(10, 100, 2))
    file.save("s", CursorState(Position(1, 5), ranges))
    assert cursors(tmp_path).load()["s"].acked == ranges[:10]


def test_moved_cursors_are_written_beside_the_loop(tmp_path: Path) -> None:
    store = Store(tmp_path, FsyncPolicy.NEVER)
    log = store.open_topic(TOPIC)
    store.save_cursor(TOPIC, "s", CursorState(EARLIEST))
    position = log.append(b"x", 1, 1)
    file = tmp_path / "topics/public/default/video/cursors.json"
    before = file.stat().st_mtime_ns
    store.save_cursor(TOPIC, "s", CursorState(position))
    pause = threading.Event()
    for _ in range(500):
        if file.stat().st_mtime_ns != before:
            break
        pause.wait(0.01)
    kill(store)
    store = Store(tmp_path, FsyncPolicy.NEVER)
    assert store.load_cursors(TOPIC) == {"s": CursorState(position)}
    store.close()


def test_closing_writes_cursors(tmp_path: Path) -> None:
    store = Store(tmp_path, FsyncPolicy.ALWAYS)
    store.open_topic(TOPIC)
    store.save_cursor(TOPIC, "s", CursorState(EARLIEST, properties={"a": "b"}))
    store.save_cursor(TOPIC, "s", CursorState(Position(1, 2), properties={"a": "b"}))
    store.close()
    store.close()
    store = Store(tmp_path, FsyncPolicy.ALWAYS)
    assert store.load_cursors(TOPIC) == {"s": CursorState(Position(1, 2), (), {"a": "b"})}
    store.delete_cursor(TOPIC, "s")
    kill(store)
    store = Store(tmp_path, FsyncPolicy.ALWAYS)
    assert store.load_cursors(TOPIC) == {}
    store.close()


def test_a_power_cut_that_empties_the_newest_file(tmp_path: Path) -> None:
    file = cursors(tmp_path, sync=True)
    file.save("s", CursorState(Position(1, 5)))
    (tmp_path / "cursors.json").write_bytes(b"")
    damage: list[str] = []
    found = CursorFile(tmp_path / "cursors.json", sync=True, report=damage.append)
    assert found.load() == {"s": CursorState(Position(1, 5))}
    assert len(damage) == 1


def sequences(logs: Logs) -> SequenceFile:
    return SequenceFile(logs.folder / "sequences.json", sync=False, report=pytest.fail)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path / "topic", segment_bytes=4096)


def test_sequences_are_found_by_a_scan(logs: Logs) -> None:
    log = logs.open()
    for number in range(1, 101):
        log.append(blob(f"p{number % 3}", number), 1, 1)
    log.append(b"no message at all", 1, 1)
    assert sequences(logs).load(log) == {"p0": 99, "p1": 100, "p2": 98}
    log.close()
    assert sequences(logs).load(logs.open()) == {"p0": 99, "p1": 100, "p2": 98}


def test_a_snapshot_is_completed_by_the_tail(logs: Logs) -> None:
    log = logs.open()
    position = log.append(blob("p", 1), 1, 1)
    file = sequences(logs)
    assert file.offer({"p": 1, "trimmed away": 44}, position)
    assert not file.offer({"p": 0}, position)
    file.flush()
    log.append(blob("p", 2), 1, 1)
    log.append(blob("q", 5), 1, 1)
    log.close()
    assert sequences(logs).load(logs.open()) == {"p": 2, "trimmed away": 44, "q": 5}


def test_a_snapshot_ahead_of_a_torn_log_is_dropped(logs: Logs) -> None:
    """A power cut took entries from the log but not the snapshot that speaks of them."""
    log = logs.open()
    log.append(blob("p", 1), 1, 1)
    position = log.append(blob("p", 2), 1, 1)
    file = sequences(logs)
    file.offer({"p": 2}, position)
    file.flush()
    log._appender.syncing.retire()
    with open(logs.segments()[0], "r+b") as data:
        data.truncate(logs.segments()[0].stat().st_size - 3)
    assert sequences(logs).load(logs.open()) == {"p": 1}


def test_a_sequence_id_never_goes_back(logs: Logs) -> None:
    log = logs.open()
    for number in (5, 9, 7):
        log.append(blob("p", number), 1, 1)
    assert sequences(logs).load(log) == {"p": 9}
    log.close()


def test_retention_keeps_sequence_ids(tmp_path: Path) -> None:
    store = Store(tmp_path, FsyncPolicy.NEVER, segment_bytes=4096)
    log = store.open_topic(TOPIC)
    for number in range(1, 200):
        log.append(blob("early" if number < 50 else "late", number), 1, 1)
    none = {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}
    store.set_topic_policy(TOPIC, "retention", none)
    assert store.sweep() > 0
    assert log.entries == 0
    kill(store)
    store = Store(tmp_path, FsyncPolicy.NEVER)
    assert store.load_sequences(TOPIC) == {"early": 49, "late": 199}
    store.close()


def test_the_longest_silent_producers_are_forgotten(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logs.open()
    position = log.append(blob("p", 1), 1, 1)
    file = sequences(logs)
    file.offer({f"p{n}": n for n in range(MAX_PRODUCERS + 5)}, position)
    file.flush()
    found = sequences(logs).load(log)
    assert len(found) == MAX_PRODUCERS
    assert "p4" not in found
    assert found["p5"] == 5
    log.close()


def field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (b"", 7),
        (field(24, 12), 12),
        (field(11, 3) + field(24, 9), 9),
        (field(27, 3) + field(29, 0), None),
        (field(27, 3) + field(29, 2), 7),
        (varint(26 << 3 | 2) + b"\x04uuid", 7),
        (varint(40 << 3 | 1) + bytes(8) + varint(41 << 3 | 5) + bytes(4), 7),
    ],
)
def test_reading_a_sequence_id(extra: bytes, expected: int | None) -> None:
    found = sequence_of(blob("p", 7, extra=extra))
    assert found == (None if expected is None else ("p", expected))
    without_magic = blob("p", 7, extra=extra)[6:]
    assert sequence_of(without_magic) == found


@given(st.binary(max_size=80))
def test_any_bytes_have_a_sequence_id_or_none(data: bytes) -> None:
    for raw in (data, b"\x0e\x01\0\0\0\0" + len(data).to_bytes(4) + data):
        found = sequence_of(raw)
        assert found is None or isinstance(found[1], int)


def test_states_are_plain_json(tmp_path: Path) -> None:
    cursors(tmp_path).save("s", CursorState(LATEST))
    _, _, text = (tmp_path / "cursors.json").read_bytes().partition(b"\n")
    assert json.loads(text)["s"]["mark"] == [2**63 - 1, 2**63 - 1]
