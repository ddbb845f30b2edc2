"""The segment log: positions, reading, rolling, retention, disk errors."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest

from tests.broker_storage.logs import Logs, kill, read_all
from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.tail import ENTRY_BYTES, TailBudget
from wtp.broker.embedded.values import EARLIEST, LATEST, FsyncPolicy, Position
from wtp.errors import StorageError, UsageError

DAY_MS = 86_400_000


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path / "topic", segment_bytes=4096)


def fill(log: TopicLog, count: int, size: int = 100, first_ms: int = 1000) -> list[Position]:
    return [log.append(bytes([n % 256]) * size, first_ms + n, 1) for n in range(count)]


def test_an_empty_log_has_no_entries(logs: Logs) -> None:
    log = logs.open()
    assert log.first == log.end
    assert log.last is None
    assert log.entries == 0
    assert log.read(EARLIEST, 10, 1000) == []
    assert log.next_position(EARLIEST) == log.end
    assert log.seek_time(0) == log.end
    assert not log.valid(log.end)
    log.close()
    assert logs.segments() == []


def test_entries_come_back_as_appended(logs: Logs) -> None:
    log = logs.open()
    positions = [log.append(f"entry {n}".encode(), 5000 + n, n + 1) for n in range(300)]
    log.append(b"", 0, 1)
    entries = read_all(log)
    assert [e.position for e in entries[:300]] == positions
    assert [(e.blob, e.publish_ms, e.messages) for e in entries[:300]] == [
        (f"entry {n}".encode(), 5000 + n, n + 1) for n in range(300)
    ]
    assert entries[300].blob == b""
    assert len(logs.segments()) > 1
    log.close()
    assert [e.blob for e in read_all(logs.open())] == [e.blob for e in entries]
    assert logs.damage == []


def test_a_restart_begins_a_new_ledger(logs: Logs) -> None:
    log = logs.open()
    fill(log, 3)
    log.close()
    log = logs.open()
    assert log.end.entry == 0
    assert log.end.ledger > 1
    assert log.append(b"x", 1, 1) == Position(log.end.ledger, 0)
    assert [ledger for ledger, *_ in log.ledgers()] == [1, log.end.ledger]
    assert log.next_position(Position(1, 2)) == Position(log.end.ledger, 0)
    assert log.previous_position(Position(log.end.ledger, 0)) == Position(1, 2)
    log.close()


def test_an_empty_ledger_behind_a_full_one(logs: Logs) -> None:
    log = logs.open()
    fill(log, 10)
    log.close()
    log = logs.open()
    before = Position(log.end.ledger, -1)
    assert log.next_position(before) == log.end
    assert log.read(before, 9, 999) == []
    assert not log.valid(log.end)
    assert log.last == Position(1, 9)
    position = log.append(b"x", 1, 1)
    assert log.next_position(before) == position
    log.close()


def test_positions_can_be_any(logs: Logs) -> None:
    log = logs.open()
    positions = fill(log, 100)
    log.close()
    log = logs.open()
    more = fill(log, 5)
    assert log.first == positions[0]
    assert log.last == more[-1]
    assert log.read(Position(0, 17), 1, 1)[0].position == positions[0]
    assert log.read(Position(1, 500), 1, 1)[0].position == more[0]
    assert log.read(LATEST, 1, 1) == []
    assert log.read(log.end, 1, 1) == []
    assert log.previous_position(EARLIEST) == EARLIEST
    assert log.previous_position(positions[0]) == EARLIEST
    assert log.previous_position(LATEST) == more[-1]
    assert log.next_position(LATEST) == log.end
    assert log.valid(positions[50])
    assert not log.valid(Position(1, 100))
    assert not log.valid(EARLIEST)
    log.close()


def test_a_read_is_bounded_and_never_empty_before_the_end(logs: Logs) -> None:
    budget = TailBudget(total_bytes=0)
    for log in (logs.open(), logs.open(budget=budget)):
        fill(log, 20, size=1000)
        start = log.end._replace(entry=0)
        assert len(log.read(start, 3, 10**6)) == 3
        assert len(log.read(start, 20, 2500)) == 2
        assert len(log.read(start, 20, 1)) == 1
        log.close()


def test_counting_between_positions(logs: Logs) -> None:
    log = logs.open()
    positions = fill(log, 100)
    log.close()
    log = logs.open()
    fill(log, 10)
    assert log.count_between(EARLIEST, LATEST) == 110
    assert log.count_between(positions[40], log.end) == 70
    assert log.count_between(positions[40], positions[40]) == 0
    assert log.count_between(positions[60], positions[40]) == 0
    assert log.count_between(Position(1, 500), LATEST) == 10
    assert 0 < log.size_between(positions[50], log.end) < log.size_bytes
    assert log.size_between(EARLIEST, LATEST) == log.size_bytes
    log.close()


def test_seek_by_publish_time_finds_the_first_not_before(logs: Logs) -> None:
    log = logs.open()
    times = [100, 200, 150, 300, 300, 250, 400] + [400 + n // 3 for n in range(300)]
    positions = [log.append(b"x" * 90, at, 1) for at in times]
    for wanted in (0, 100, 101, 200, 201, 260, 300, 301, 433, 499, 500):
        first = next((n for n, at in enumerate(times) if at >= wanted), None)
        expected = log.end if first is None else positions[first]
        assert log.seek_time(wanted) == expected, wanted
    log.close()
    assert logs.open().seek_time(433) == positions[times.index(433)]


def test_the_tail_in_memory_is_bounded(logs: Logs) -> None:
    budget = TailBudget(total_bytes=20_000, topic_bytes=8_000)
    other = Logs(logs.folder.with_name("other"))
    first, second = logs.open(budget=budget), other.open(budget=budget)
    for _ in range(3):
        fill(first, 50)
        fill(second, 50)
        third = other.open(budget=budget)
        fill(third, 40)
        assert budget.used_bytes <= 20_000
        assert max(log._appender.tail.size_bytes for log in (first, second)) <= 8_000
        assert first._appender.tail.size_bytes % (100 + ENTRY_BYTES) == 0
        third.close()
    assert len(read_all(first)) == 150
    first.close()
    second.close()
    assert budget.used_bytes == 0


def test_reads_that_cross_from_the_disk_to_memory(logs: Logs) -> None:
    log = logs.open(budget=TailBudget(total_bytes=5000))
    positions = fill(log, 200)
    assert log._appender.tail.low > 100
    assert [e.position for e in read_all(log, batch=9)] == positions
    log.close()


@pytest.mark.parametrize(("publish_ms", "messages"), [(-1, 1), (1 << 64, 1), (0, -1), (0, 1 << 32)])
def test_an_impossible_entry_leaves_no_trace(logs: Logs, publish_ms: int, messages: int) -> None:
    log = logs.open()
    fill(log, 2)
    with pytest.raises(UsageError):
        log.append(b"x", publish_ms, messages)
    fill(log, 2)
    assert len(read_all(log)) == 4
    log.close()


def test_retention_by_age_drops_whole_old_segments(logs: Logs) -> None:
    log = logs.open()
    positions = fill(log, 200)
    now = time.time_ns() // 1_000_000
    for path in logs.segments()[:2]:
        os.utime(path, (now / 1000 - 7200,) * 2)
    log.close()
    logs.forget_indexes()
    log = logs.open()
    assert log.trim(now, 3600, -1, None) == 2
    assert logs.dropped == [log.first]
    assert positions[0] < log.first < positions[-1]
    assert log.count_between(EARLIEST, LATEST) == log.entries < 200
    assert read_all(log)[0].position == log.first
    assert log.trim(now, -1, -1, None) == 0
    assert log.trim(now + DAY_MS, 3600, -1, None) > 0
    assert log.entries == 0
    assert log.first == log.end
    log.close()


def test_retention_by_size_keeps_the_newest(logs: Logs) -> None:
    log = logs.open()
    positions = fill(log, 200)
    before = log.size_bytes
    assert log.trim(0, -1, before // 2, None) > 0
    assert before // 4 < log.size_bytes <= before // 2
    assert log.last == positions[-1]
    log.close()


def test_retention_never_passes_the_slowest_subscription(logs: Logs) -> None:
    log = logs.open()
    positions = fill(log, 200)
    log.trim(DAY_MS * 100_000, 0, 0, positions[70])
    assert log.first <= positions[70]
    assert log.first > positions[0]
    assert log.valid(positions[70])
    log.close()


def test_no_retention_drops_the_active_segment_too(logs: Logs) -> None:
    log = logs.open()
    fill(log, 5)
    assert log.trim(0, 0, 0, log.end) == 1
    assert log.entries == 0
    assert logs.segments() == []
    position = log.append(b"after", 1, 1)
    assert position.entry == 5
    assert [e.blob for e in log.read(EARLIEST, 9, 99)] == [b"after"]
    log.close()


def test_an_old_active_segment_is_sealed(logs: Logs) -> None:
    log = logs.open()
    fill(log, 5)
    now = time.time_ns() // 1_000_000
    assert log.trim(now, -1, -1, None) == 0
    fill(log, 1)
    assert len(logs.segments()) == 1
    log.trim(now + 2 * 3_600_000, -1, -1, None)
    fill(log, 1)
    assert len(logs.segments()) == 2
    assert len(read_all(log)) == 7
    log.close()


def test_a_closed_log_takes_nothing(logs: Logs) -> None:
    log = logs.open()
    fill(log, 5)
    log.close()
    log.close()
    with pytest.raises(StorageError, match="closed"):
        log.append(b"x", 1, 1)


def test_an_idle_log_holds_no_file(logs: Logs) -> None:
    log = logs.open()
    fill(log, 3)
    open_files = len(os.listdir("/proc/self/fd"))
    log.idle()
    assert len(os.listdir("/proc/self/fd")) == open_files
    log.idle()
    assert len(os.listdir("/proc/self/fd")) == open_files - 1
    fill(log, 3)
    assert len(logs.segments()) == 1
    assert len(read_all(log)) == 6
    kill(log)
    assert len(read_all(logs.open())) == 6


def test_disk_full_leaves_the_log_whole(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logs.open()
    fill(log, 3)
    real = os.write
    left = 50

    def write(fd: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = real(fd, data[:left])
        left -= taken
        return taken

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StorageError, match="no space left") as caught:
        fill(log, 1)
    assert caught.value.code == "disk-full"
    assert caught.value.hint
    assert logs.segments()[0].stat().st_size == log.size_bytes
    monkeypatch.undo()
    fill(log, 2)
    assert len(read_all(log)) == 5
    kill(log)
    assert len(read_all(logs.open())) == 5
    assert logs.damage == []


def test_a_short_write_is_completed(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write, real_writev = os.write, os.writev
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:30]))
    monkeypatch.setattr(os, "writev", lambda fd, parts: real_writev(fd, [parts[0][:7]]))
    log = logs.open()
    fill(log, 2)
    fill(log, 1, size=20_000)
    monkeypatch.undo()
    assert [len(e.blob) for e in read_all(log)] == [100, 100, 20_000]
    kill(log)
    assert len(read_all(logs.open())) == 3
    assert logs.damage == []


def test_a_full_tmpfs(tmp_path: Path) -> None:
    """A real limit of the system: RLIMIT_FSIZE gives EFBIG in the middle of a record."""
    import resource

    logs = Logs(tmp_path / "topic")
    log = logs.open()
    fill(log, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError) as caught:
            fill(log, 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "disk-full"
    kept = len(read_all(log))
    assert 1 < kept < 21
    fill(log, 1)
    kill(log)
    assert len(read_all(logs.open())) == kept + 1
    assert logs.damage == []


def test_a_log_that_cannot_be_repaired_takes_nothing_more(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logs.open()
    fill(log, 3)

    def broken(*args: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", broken)
    monkeypatch.setattr(os, "ftruncate", broken)
    with pytest.raises(StorageError):
        fill(log, 1)
    monkeypatch.undo()
    with pytest.raises(StorageError, match="repair"):
        fill(log, 1)
    assert "torn record" in logs.damage[0]
    assert len(read_all(log)) == 3
    log.close()


def test_running_out_of_files_closes_idle_ones(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logs.open()
    asked: list[bool] = []
    real = os.open

    def scarce(*args: object, **more: object) -> int:
        if not asked:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", scarce)
    log._options.out_of_files = lambda: asked.append(True)
    fill(log, 1)
    monkeypatch.undo()
    assert asked == [True]
    log.close()


async def test_durable_waits_share_one_fsync(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logs.open(FsyncPolicy.ALWAYS)
    calls: list[int] = []
    real = os.fdatasync

    def counted(fd: int) -> None:
        calls.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", counted)
    positions = fill(log, 100)
    await asyncio.gather(*(log.durable(position) for position in positions))
    assert len(calls) <= 1 + len(logs.segments())
    before = len(calls)
    await log.durable(positions[-1])
    assert len(calls) == before
    log.close()


async def test_durable_returns_at_once_under_other_policies(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logs.open(FsyncPolicy.INTERVAL)
    monkeypatch.setattr(os, "fdatasync", lambda fd: pytest.fail("fsync"))
    await log.durable(fill(log, 1)[0])
    monkeypatch.undo()
    log.close()


async def test_a_failed_fsync_stops_the_log(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logs.open(FsyncPolicy.ALWAYS)
    position = fill(log, 1)[0]

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(StorageError, match="sync"):
        await log.durable(position)
    monkeypatch.undo()
    assert logs.damage
    with pytest.raises(StorageError, match="sync"):
        fill(log, 1)
    log.close()
