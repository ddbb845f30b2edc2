"""Recovery: whatever byte is cut off or flipped, good records are served and nothing else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.broker_storage.logs import Logs, kill, read_all
from wtp.broker.embedded.records import (
    DATA_START,
    OVERHEAD,
    RECORD_MAGIC,
    Gap,
    Record,
    pack_header,
    pack_record,
    scan,
)
from wtp.broker.embedded.values import EARLIEST, Entry, Position


def written(folder: Path, sizes: list[int]) -> tuple[Logs, list[Entry], list[int]]:
    """A killed log with entries of these sizes; returns them and where each record ends."""
    logs = Logs(folder)
    log = logs.open()
    ends = []
    for number, size in enumerate(sizes):
        # Every payload holds what looks like the start of a record.
        log.append((RECORD_MAGIC + bytes([number]) * size)[:size], 1000 + number, 1)
        ends.append(log.size_bytes)
    entries = read_all(log)
    kill(log)
    return logs, entries, ends


SIZES = st.lists(st.integers(0, 90), min_size=1, max_size=12)


@given(sizes=SIZES, where=st.floats(0, 1))
def test_a_tail_cut_anywhere(sizes: list[int], where: float) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        logs, entries, ends = written(folder, sizes)
        path = logs.segments()[0]
        cut = round(where * ends[-1])
        with open(path, "r+b") as file:
            file.truncate(cut)
        log = logs.open()
        whole = [entry for entry, end in zip(entries, ends, strict=True) if end <= cut]
        assert read_all(log) == whole
        torn = cut not in {DATA_START, *ends}
        assert len(logs.damage) == (1 if torn else 0)
        if torn:
            assert str(path) in logs.damage[0]
            assert "offset" in logs.damage[0]
        position = log.append(b"after", 5, 1)
        assert read_all(log)[-1].position == position
        assert log.count_between(EARLIEST, log.end) == len(whole) + 1
        kill(log)
        logs.damage.clear()
        assert len(read_all(logs.open())) == len(whole) + 1
        assert logs.damage == []
    finally:
        shutil.rmtree(folder)


@given(sizes=SIZES, where=st.floats(0, 1), bit=st.integers(0, 7), indexed=st.booleans())
def test_a_bit_flipped_anywhere(sizes: list[int], where: float, bit: int, indexed: bool) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        logs, entries, ends = written(folder, sizes)
        if indexed:
            logs.open().close()  # A clean start and end writes the index.
        path = logs.segments()[0]
        data = bytearray(path.read_bytes())
        at = min(int(where * len(data)), len(data) - 1)
        data[at] ^= 1 << bit
        path.write_bytes(data)
        log = logs.open()
        served = read_all(log)
        starts = [DATA_START, *ends[:-1]]
        hit = [e for e, s, end in zip(entries, starts, ends, strict=True) if s <= at < end]
        assert served == [entry for entry in entries if entry not in hit]
        assert len(logs.damage) == (1 if hit else 0)
        assert log.entries == len(served)
        assert log.count_between(EARLIEST, log.end) == len(served)
        for entry in entries:
            assert log.valid(entry.position) == (entry in served)
        after = log.append(b"after", 5, 1)
        at_last = Position(*served[-1].position) if served else EARLIEST
        assert log.next_position(at_last) == after
        log.close()
    finally:
        shutil.rmtree(folder)


@given(sizes=SIZES, noise=st.binary(min_size=1, max_size=80), where=st.floats(0, 1))
def test_a_stretch_overwritten_anywhere(sizes: list[int], noise: bytes, where: float) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        logs, entries, ends = written(folder, sizes)
        path = logs.segments()[0]
        data = bytearray(path.read_bytes())
        at = int(where * len(data))
        before = bytes(data)
        data[at : at + len(noise)] = noise
        path.write_bytes(data)
        served = read_all(logs.open())
        good = []
        for entry, start, end in zip(entries, [DATA_START, *ends[:-1]], ends, strict=True):
            if data[start:end] == before[start:end]:
                good.append(entry)
        headless = data[: DATA_START // 2] != before[: DATA_START // 2] and (
            data[DATA_START // 2 : DATA_START] != before[DATA_START // 2 : DATA_START]
        )
        assert served == ([] if headless else good)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path / "topic", segment_bytes=4096)


def several(logs: Logs, count: int = 100) -> list[Entry]:
    log = logs.open()
    for number in range(count):
        log.append(bytes([number]) * 150, number, 1)
    entries = read_all(log)
    log.close()
    assert len(logs.segments()) >= 3
    return entries


def flip(path: Path, at: int, count: int = 1) -> None:
    data = bytearray(path.read_bytes())
    for offset in range(at, at + count):
        data[offset] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("indexed", [True, False])
def test_damage_in_an_older_segment_is_stepped_over(logs: Logs, indexed: bool) -> None:
    entries = several(logs)
    path = logs.segments()[1]
    if not indexed:
        logs.forget_indexes()
    flip(path, DATA_START + 3 * (150 + OVERHEAD) + 10, 300)
    log = logs.open()
    served = read_all(log)
    lost = [entry for entry in entries if entry not in served]
    assert 2 <= len(lost) <= 3
    assert lost[0].position.entry + len(lost) - 1 == lost[-1].position.entry
    assert len(logs.damage) == 1
    assert str(path) in logs.damage[0]
    assert log.next_position(Position(1, lost[0].position.entry - 1)).entry == (
        lost[-1].position.entry + 1
    )
    assert log.previous_position(Position(1, lost[-1].position.entry + 1)).entry == (
        lost[0].position.entry - 1
    )
    assert log.read(lost[0].position, 1, 1)[0].position.entry == lost[-1].position.entry + 1
    log.close()
    logs.damage.clear()
    assert len(read_all(logs.open())) == len(served)
    assert len(logs.damage) == 1


def test_a_damaged_end_of_an_older_segment(logs: Logs) -> None:
    entries = several(logs)
    first = logs.segments()[0]
    logs.forget_indexes()
    with open(first, "r+b") as file:
        file.truncate(first.stat().st_size - 10)
    log = logs.open()
    served = read_all(log)
    assert len(served) == len(entries) - 1
    assert "to its end" in logs.damage[0]


def test_a_segment_that_shrinks_under_its_index(logs: Logs) -> None:
    entries = several(logs)
    log = logs.open()
    path = logs.segments()[0]
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 1000)
    served = read_all(log)
    assert served == [entry for entry in entries if entry in served]
    assert 3 <= len(entries) - len(served) <= 8
    assert log.entries == len(served)
    assert logs.damage


def test_a_segment_that_disappears(logs: Logs) -> None:
    entries = several(logs)
    log = logs.open()
    logs.segments()[0].unlink()
    served = read_all(log)
    assert served == entries[-len(served) :]
    assert "gone" in logs.damage[0]


def test_both_headers_damaged(logs: Logs) -> None:
    entries = several(logs)
    logs.forget_indexes()
    path = logs.segments()[0]
    flip(path, 0, DATA_START)
    served = read_all(logs.open())
    assert served == entries[-len(served) :]
    assert "header" in logs.damage[0]
    assert path.exists()


def test_a_segment_in_another_place_is_not_served(logs: Logs) -> None:
    several(logs)
    logs.forget_indexes()
    path = logs.segments()[0]
    path.rename(path.with_name("000000000009-000000000000.seg"))
    log = logs.open()
    assert all(entry.position.ledger == 1 for entry in read_all(log))
    assert "another place" in logs.damage[0]


def test_foreign_files_are_left_alone(logs: Logs) -> None:
    logs.folder.mkdir()
    for name in ("notes.txt", "x-y.seg", "-1.seg"):
        (logs.folder / name).write_bytes(b"hello")
    assert logs.open().entries == 0
    assert len(list(logs.folder.iterdir())) == 3


def test_a_damaged_index_is_not_believed(logs: Logs) -> None:
    entries = several(logs)
    for number, path in enumerate(sorted(logs.folder.glob("*.idx"))):
        flip(path, number * 7)
    assert read_all(logs.open()) == entries
    assert logs.damage == []


def test_no_ledger_id_comes_twice_after_a_torn_tail(logs: Logs) -> None:
    log = logs.open()
    log.append(b"seen by a reader", 1, 1)
    kill(log)
    with open(logs.segments()[0], "r+b") as file:
        file.truncate(DATA_START + 5)
    log = logs.open()
    assert log.entries == 0
    assert log.append(b"another", 1, 1).ledger > 1
    log.close()


@given(st.binary(max_size=400), st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_a_scan_covers_any_bytes_once(data: bytes, salt: int, entry: int) -> None:
    at = 0
    for item in scan(data, 0, salt, entry):
        start = item.start if isinstance(item, Gap) else item.start - OVERHEAD
        assert start == at
        at = item.stop
    assert at == len(data)


def test_a_record_inside_a_payload_is_not_taken_for_one() -> None:
    salt = 0x12345678
    inner = pack_record(1, 5, 1, b"forged", salt ^ 1) + b"forged"
    first = pack_record(0, 5, 1, inner, salt) + inner
    second = pack_record(1, 6, 1, b"real", salt) + b"real"
    data = bytearray(pack_header(salt, 1, 0, 0) + first + second)
    data[DATA_START + 30] ^= 1
    found = [item for item in scan(bytes(data), DATA_START, salt, 0) if isinstance(item, Record)]
    assert [(item.entry, item.publish_ms) for item in found] == [(1, 6)]
