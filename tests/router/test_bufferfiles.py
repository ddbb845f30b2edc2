"""Metrics files of the original: columns, units, bounds, and a disk that fails."""

from __future__ import annotations

import asyncio
import csv
import errno
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast

import pytest

from tests.router.fakes import FakeSession, Time, picture
from tests.router.test_peer import Desk
from wtp.config.schema import RouterSettings
from wtp.errors import StorageError
from wtp.model import Kind
from wtp.router.bufferfiles import UNITS, BufferFiles, Lines, explained
from wtp.router.bufferrows import COLUMNS, HEADER
from wtp.router.bufferwatch import BufferWatch
from wtp.router.peer import Peer
from wtp.transport.session import Session
from wtp.wire import StreamType, control
from wtp.wire import legacy as legacy_wire
from wtp.wire.objects import encode_head

ORIGINAL = (
    "timestamp,client_id,buffer_size_bytes,max_buffer_size_bytes,buffer_overflows,packets_total,"
    "packets_complete,packets_fragmented,fragmentation_rate,streams_active,streams_max_concurrent,"
    "throughput_mbps,avg_processing_time_ms,avg_buffer_wait_ms"
)


class Watched:
    """A router's inside whose sessions are watched, and the files it writes."""

    def __init__(self, folder: Path, time: Time) -> None:
        self.desk, self.time, self.folder, self.connected = Desk(), time, folder, True
        self.desk.clock = self.desk.rooms._clock = type(self.desk.clock)(
            self.desk.clock.domain, time
        )
        self.watch = BufferWatch(
            RouterSettings(metrics_dir=str(folder)),
            self.desk.rooms.routes.values,
            lambda: self.connected,
            self.desk.refused,
        )

    def peer(self, **query: str) -> Peer:
        desk = self.desk
        return self.watch.peer(
            cast(Session, FakeSession(query)), desk.rooms, desk.clock, desk.settings, desk.spawn,
            desk.gone.append, desk.refused,
        )  # fmt: skip

    async def camera(self) -> Peer:
        """A session that publishes pictures as alias 1."""
        peer = self.peer()
        hello = control.encode(control.Hello("cam", "run"))
        publish = control.encode(control.Publish(1, "video", "video", "video/h264"))
        peer.stream_data(2, bytes([StreamType.CONTROL]) + hello + publish, False)
        while 1 not in peer.routes:
            await asyncio.sleep(0)
        return peer

    def finish(self) -> tuple[list[dict[str, str]], list[str]]:
        """All lines of both files."""
        self.watch.look()
        self.watch.files.close()
        (table,) = self.folder.glob("buffer_metrics_*.csv")
        (log,) = self.folder.glob("buffer_events_*.log")
        with table.open(newline="") as file:
            return list(csv.DictReader(file)), log.read_text().splitlines()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the disk of a busy machine its time."""
    monkeypatch.setattr("wtp.router.bufferfiles.CLOSE_S", 60.0)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr("wtp.router.bufferwatch.monotonic_us", clock)
    return clock


@pytest.fixture
def watched(tmp_path: Path, time: Time) -> Iterator[Watched]:
    stage = Watched(tmp_path / "metrics", time)
    yield stage
    stage.watch.files.close()


def wire(seq: int, size: int, key: bool = True) -> bytes:
    obj = picture(seq, key=key, size=size)
    return encode_head(1, obj) + obj.payload


def until(condition: Callable[[], bool]) -> None:
    """Wait for the thread that writes."""
    end = monotonic() + 60
    while not condition():
        assert monotonic() < end
        sleep(0.005)


def number(row: dict[str, str], name: str) -> float:
    return float(row[name])


def test_the_originals_columns_come_first_and_every_column_has_its_unit(tmp_path: Path) -> None:
    assert HEADER.startswith(ORIGINAL + ",")
    BufferFiles(tmp_path, 10**6, HEADER, explained(COLUMNS)).close()
    text = (tmp_path / UNITS).read_text()
    assert re.search(r"throughput_mbps +Mbit/s +10\^6 bits", text)
    for name, unit, meaning in COLUMNS:
        assert meaning, name
        for end, wanted in (("_bytes", "bytes"), ("_ms", "ms"), ("_mbps", "Mbit/s"), ("_s", "s")):
            if name.endswith(end):
                assert unit == wanted, name
                break


async def test_a_second_of_a_session_in_numbers(watched: Watched) -> None:
    peer = await watched.camera()
    watched.watch.look()
    counted = watched.watch.sessions[cast(Any, peer)].bytes
    one, two, half = wire(1, 2000), wire(2, 3000), wire(3, 5000)[:1048]
    peer.stream_data(6, bytes([StreamType.OBJECTS]) + one, False)
    peer.stream_data(6, two[:100], False)
    watched.time.now += 30_000  # from first byte to whole
    peer.stream_data(6, two[100:] + half, False)
    producer = watched.desk.link.producers[peer.routes[1].track]
    watched.time.now += 8_000
    producer.receipt(2)
    watched.time.now += 1_962_000  # 2 s in all
    rows, events = watched.finish()
    row = rows[-1]
    sent = 1 + len(one) + len(two) + len(half)
    assert number(row, "interval_s") == 2.0
    assert number(row, "throughput_mbps") == pytest.approx(sent * 8 / 2 / 1e6, abs=1e-4)
    assert number(row, "received_bytes") == counted + sent
    assert [number(row, f"packets_{what}") for what in ("total", "complete", "fragmented")] == [
        3, 2, 1,
    ]  # fmt: skip
    assert number(row, "fragmentation_rate") == 0.5
    assert number(row, "buffer_size_bytes") == len(half)
    assert number(row, "max_buffer_size_bytes") >= len(half)
    assert number(row, "streams_active") == number(row, "streams_max_concurrent") == 2
    assert number(row, "avg_buffer_wait_ms") == 15.0  # one waited 30 ms, one came at once
    assert number(row, "avg_processing_time_ms") == 0.0  # both were handed over at once
    assert 5.0 <= number(row, "receipt_p99_ms") <= 50.0  # 38 ms and 8 ms, out of a few buckets
    assert [row[name] for name in ("offered", "delivered", "in_flight", "dropped")] == [
        "2", "2", "0", "0",
    ]  # fmt: skip
    assert (row["room"], row["publisher"], row["tracks"]) == ("default", "cam", "1")
    first = rows[0]
    assert first["avg_processing_time_ms"] == first["fragmentation_rate"] == ""  # not known, not 0
    assert [line.split()[1] for line in events][:2] == ["connect", "hello"]


async def test_what_waits_and_what_is_dropped_shows(watched: Watched) -> None:
    peer = await watched.camera()
    watched.watch.look()
    peer.stream_data(6, bytes([StreamType.OBJECTS]), False)
    for seq in range(1, 80):  # four are with the broker's client, sixty fit the queue
        peer.stream_data(6, wire(seq, 1000, key=seq == 1), False)
    watched.desk.refused["origin"] += 2
    watched.connected = False
    watched.watch.look()
    watched.connected = True
    watched.time.now += 1_000_000
    peer.closed(7, "gone\nwild")
    rows, events = watched.finish()
    full, last = rows[1], rows[-1]
    dropped = number(full, "dropped")
    assert dropped > 0
    assert number(full, "offered") == number(full, "in_flight") + dropped
    assert number(full, "buffer_overflows") + 15 >= dropped
    reasons = dict(pair.split("=") for pair in full["dropped_by"].split())
    assert int(reasons["queue"]) == number(full, "buffer_overflows") > 0
    assert sum(map(int, reasons.values())) == dropped
    assert number(full, "buffer_size_bytes") == number(full, "queue_objects") * 1000
    assert last["client_id"] == peer.id
    text = "\n".join(events)
    assert f"drop client={peer.id} room=default publisher=cam" in text
    assert re.findall(r"Z (broker-\S+)", text) == ["broker-lost", "broker-back"]
    assert "refused origin=2" in text
    assert rf"end client={peer.id} room=default publisher=cam code=7 reason='gone\nwild'" in text
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [a-z-]+", one) for one in events)


async def test_sessions_of_the_original_framing_and_resets_count_too(watched: Watched) -> None:
    peer = watched.peer()
    message = legacy_wire.encode("page", Kind.VIDEO.value, bytes(500))
    peer.stream_data(2, message + message[:40], False)
    peer.stream_data(2, message[40:] + message[:50], False)
    peer.stream_reset(2, 0)
    rows, _ = watched.finish()
    names = ("packets_total", "packets_complete", "packets_fragmented", "streams_active")
    assert [rows[-1][name] for name in names] == ["3", "2", "1", "0"]
    assert rows[-1]["publisher"].startswith("legacy-")


async def test_an_object_that_came_as_one_whole_stream_counts(watched: Watched) -> None:
    peer = await watched.camera()
    peer.stream_data(6, bytes([StreamType.OBJECTS]) + wire(1, 500), True)
    rows, _ = watched.finish()
    names = ("packets_total", "packets_complete", "packets_fragmented", "offered")
    assert [rows[-1][name] for name in names] == ["1", "1", "0", "1"]


def test_files_are_cut_and_stay_under_the_bound(tmp_path: Path) -> None:
    kept = tmp_path / "buffer_metrics_notes.csv"
    kept.write_text("mine")
    old = tmp_path / "buffer_metrics_20200101_000000.csv"
    old.write_text("x" * 50_000)
    os.utime(old, (1, 1))
    bound = 160_000
    files = BufferFiles(tmp_path, bound, "a,b", "")
    for number in range(400):
        line = f"{number},{'x' * 1000}\n"
        until(lambda: not files._queue.full())
        files.put(Lines(line, line[:100] + "\n"))
    files.close()
    parts = sorted(tmp_path.glob("buffer_metrics_2*.csv"), key=lambda path: path.stat().st_mtime_ns)
    total = sum(path.stat().st_size for path in tmp_path.iterdir() if path != kept)
    assert files.lost == 0
    assert total <= bound
    assert total > bound / 2
    assert not old.exists()
    assert kept.read_text() == "mine"
    assert len(parts) > 3
    assert all(path.read_text().startswith("a,b\n") for path in parts)
    numbers = [
        int(line.split(",")[0]) for path in parts for line in path.read_text().splitlines()[1:]
    ]
    assert numbers == list(range(numbers[0], 400))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written") as caught:
        BufferFiles(tmp_path / "file" / "sub", 10**6, HEADER, "")
    assert "--metrics-dir" in caught.value.hint


def test_a_full_disk_costs_lines_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = BufferFiles(tmp_path, 10**6, "head", "")
    write, full = os.write, [True]

    def scarce(descriptor: int, data: bytes) -> int:
        if full[0]:
            write(descriptor, bytes(data)[:1])  # the last byte that fits
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr("wtp.router.bufferfiles.os.write", scarce)
    with caplog.at_level("WARNING"):
        for _ in range(3):
            files.put(Lines("lost\n"))
        until(lambda: files.lost == 3)
        full[0] = False
        files.put(Lines("kept\n"))
        files.close()
    assert caplog.text.count("No space left") == 1
    assert "routing goes on" in caplog.text
    assert caplog.text.count("written again") == 1
    (path,) = tmp_path.glob("*.csv")
    assert path.read_text() == "head\nkept\n"


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    files = BufferFiles(tmp_path, 10**6, "head", "")
    (path,) = tmp_path.glob("*.csv")
    path.rename(tmp_path / "archive")
    files.put(Lines("next\n"))
    files.close()
    (path,) = tmp_path.glob("buffer_metrics_2*.csv")
    assert path.read_text() == "head\nnext\n"


def test_a_disk_that_hangs_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = BufferFiles(tmp_path, 10**6, "head", "")
    hang, write = threading.Event(), os.write

    def slow(descriptor: int, data: bytes) -> int:
        hang.wait(60)
        return write(descriptor, data)

    monkeypatch.setattr("wtp.router.bufferfiles.os.write", slow)
    with caplog.at_level("WARNING"):
        for _ in range(100):
            files.put(Lines("line\n"))
        assert files.lost >= 30
        assert caplog.text.count("does not keep up") == 1
    hang.set()
    files.close()
