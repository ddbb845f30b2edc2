"""The data folder: lock, namespaces, topics, policies, retention, and what a kill leaves."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker_storage.logs import TOPIC, blob, read_all
from wtp.broker.embedded.folderlock import holder
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.topicfolder import TRASH, folder_name
from wtp.broker.embedded.values import CursorState, FsyncPolicy, Position, Retention
from wtp.errors import BrokerError, NotFound, StorageError, UsageError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data", FsyncPolicy.NEVER, segment_bytes=4096)
    yield store
    store.close()


def again(store: Store) -> Store:
    """The same folder after a clean end and a start."""
    store.close()
    return Store(store.folder, store.fsync, segment_bytes=4096)


def kill(store: Store) -> None:
    """Let go of a store as kill -9 does."""
    store._beside.close()
    for topic in store._all():
        if topic.log is not None:
            topic.log._appender.syncing.retire()
    store._lock.release()
    store._closed = True


def test_what_exists_from_the_start(store: Store) -> None:
    assert store.tenants() == ["public"]
    assert store.namespaces("public") == ["public/default"]
    assert store.topics("public/default") == []
    assert store.deduplication(TOPIC)
    assert store.retention(TOPIC) == Retention(1440, 1024)


def test_a_folder_has_one_broker(store: Store) -> None:
    with pytest.raises(StorageError) as caught:
        Store(store.folder)
    assert caught.value.code == "locked"
    assert str(os.getpid()) in str(caught.value)
    assert "--data" in caught.value.hint
    store.announce({"broker": "pulsar://127.0.0.1:6650"})
    assert holder(store.folder) == {
        "pid": str(os.getpid()),
        "broker": "pulsar://127.0.0.1:6650",
    }
    store.close()
    Store(store.folder).close()
    assert holder(store.folder / "none") == {}


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "FORMAT").write_bytes(b"wtp-broker 9\n")
    with pytest.raises(StorageError, match="another version") as caught:
        Store(tmp_path)
    assert caught.value.code == "format"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: object, **more: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError) as caught:
        Store(tmp_path / "data")
    assert caught.value.code == "read-only"
    assert "writable" in caught.value.hint


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(StorageError):
        Store(tmp_path / "data")


def test_a_full_disk_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).close()

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    (tmp_path / "topics/public/default/video").mkdir(parents=True)
    with pytest.raises(StorageError, match="no space"):
        Store(tmp_path)
    monkeypatch.undo()
    Store(tmp_path).close()


def test_namespaces_and_tenants(store: Store) -> None:
    store.create_namespace("public/lab", {"deduplicationEnabled": False})
    with pytest.raises(BrokerError, match="already exists") as caught:
        store.create_namespace("public/lab")
    assert caught.value.code == "exists"
    with pytest.raises(NotFound):
        store.create_namespace("nobody/lab")
    with pytest.raises(UsageError):
        store.create_namespace("public/a b")
    store.create_tenant("acme")
    with pytest.raises(BrokerError):
        store.create_tenant("acme")
    store.create_namespace("acme/x")
    with pytest.raises(BrokerError):
        store.delete_tenant("acme")
    store = again(store)
    assert store.namespaces("public") == ["public/default", "public/lab"]
    assert store.policies("public/lab") == {"deduplicationEnabled": False}
    store.delete_namespace("acme/x")
    store.delete_tenant("acme")
    with pytest.raises(NotFound):
        store.delete_namespace("acme/x")
    with pytest.raises(NotFound):
        store.namespaces("acme")
    store.close()


def test_policies(store: Store) -> None:
    store.open_topic(TOPIC)
    store.set_policy("public/default", "deduplicationEnabled", False)
    limits = {"retentionTimeInMinutes": 10, "retentionSizeInMB": -1}
    store.set_policy("public/default", "retention_policies", limits)
    assert not store.deduplication(TOPIC)
    assert store.retention(TOPIC) == Retention(10, -1)
    none = {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}
    store.set_topic_policy(TOPIC, "retention", none)
    store = again(store)
    assert store.retention(TOPIC) == Retention(0, 0)
    assert store.topic_policies(TOPIC) == {"retention": none}
    store.set_topic_policy(TOPIC, "retention", None)
    assert store.retention(TOPIC) == Retention(10, -1)
    store.set_policy("public/default", "retention_policies", None)
    assert store.retention(TOPIC) == Retention(1440, 1024)
    store.close()


@pytest.mark.parametrize(
    "value",
    [
        {"retentionTimeInMinutes": 0, "retentionSizeInMB": 5},
        {"retentionTimeInMinutes": 5},
        {"retentionTimeInMinutes": -2, "retentionSizeInMB": 5},
        {"retentionTimeInMinutes": "5", "retentionSizeInMB": 5},
        {"retentionTimeInMinutes": True, "retentionSizeInMB": 5},
        [1, 2],
    ],
)
def test_a_retention_that_cannot_be(store: Store, value: object) -> None:
    with pytest.raises(UsageError):
        store.set_policy("public/default", "retention_policies", value)
    with pytest.raises(UsageError):
        store.create_namespace("public/new", {"retention_policies": value})
    assert not store.has_namespace("public/new")


def test_deduplication_must_be_a_truth_value(store: Store) -> None:
    with pytest.raises(UsageError):
        store.set_policy("public/default", "deduplicationEnabled", "yes")


LOCALS = ["a", "A", "a b", "ü/ü".replace("/", "%2F"), "..", ".trash-x", "x" * 700, "ä" * 200, "~~"]


def test_topics_of_any_name_are_found_again(store: Store) -> None:
    names = [f"persistent://public/default/{local}" for local in LOCALS]
    for number, name in enumerate(names):
        store.open_topic(name).append(b"%d" % number, 1, 1)
    store = again(store)
    assert store.topics("public/default") == sorted(names)
    for number, name in enumerate(names):
        assert read_all(store.open_topic(name))[0].blob == b"%d" % number
    assert store.damage == []
    inside = {path.resolve().parent for path in (store.folder / "topics/public/default").iterdir()}
    assert inside == {(store.folder / "topics/public/default").resolve()}
    store.close()


def test_a_topic_opens_once(store: Store) -> None:
    log = store.open_topic(TOPIC)
    assert store.open_topic(TOPIC) is log
    log.append(b"x", 1, 1)
    store.close_topic(TOPIC)
    store.close_topic("persistent://public/default/none")
    reopened = store.open_topic(TOPIC, create=False)
    assert reopened is not log
    assert reopened.entries == 1
    assert store.sizes() == {TOPIC: (1, reopened.size_bytes)}


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("persistent://public/none/x", NotFound),
        ("non-persistent://public/default/x", UsageError),
        ("video", UsageError),
        ("persistent://public/default/", UsageError),
    ],
)
def test_topics_that_cannot_be(store: Store, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        store.open_topic(name)
    with pytest.raises((NotFound, UsageError)):
        store.load_cursors(name)


def test_a_topic_that_is_not_there(store: Store) -> None:
    for call in (store.delete_topic, store.load_cursors, store.load_sequences):
        with pytest.raises(NotFound):
            call(TOPIC)
    with pytest.raises(NotFound):
        store.open_topic(TOPIC, create=False)


def test_deleting_a_topic(store: Store) -> None:
    log = store.open_topic(TOPIC)
    position = log.append(b"x", 1, 1)
    store.save_cursor(TOPIC, "s", CursorState(position))
    store.delete_topic(TOPIC)
    assert not store.has_topic(TOPIC)
    assert store.topics("public/default") == []
    fresh = store.open_topic(TOPIC)
    assert fresh.entries == 0
    assert fresh.end > position
    assert store.load_cursors(TOPIC) == {}


def test_a_deletion_that_was_killed_is_finished(store: Store) -> None:
    store.open_topic(TOPIC).append(b"x", 1, 1)
    store.close()
    path = store.folder / "topics/public/default" / folder_name("video")
    path.rename(path.with_name(TRASH + "0"))
    store = Store(store.folder)
    assert not store.has_topic(TOPIC)
    assert list(path.parent.iterdir()) == []
    store.close()


def test_partitions(store: Store) -> None:
    store.set_partitions(TOPIC, 3)
    volatile = "non-persistent://public/default/now"
    store.set_partitions(volatile, 2)
    with pytest.raises(NotFound):
        store.set_partitions("persistent://public/none/x", 3)
    store = again(store)
    assert (store.partitions(TOPIC), store.partitions(volatile)) == (3, 2)
    assert store.partitions("persistent://public/default/other") == 0
    assert store.partitioned_topics("public/default") == [TOPIC]
    assert store.partitioned_topics("public/default", "non-persistent") == [volatile]
    store.set_partitions(TOPIC, 0)
    assert store.partitioned_topics("public/default") == []
    store.close()


def test_a_namespace_with_topics_stays(store: Store) -> None:
    store.create_namespace("public/lab")
    store.set_partitions("persistent://public/lab/x", 2)
    store.open_topic("persistent://public/lab/x-partition-0")
    with pytest.raises(BrokerError):
        store.delete_namespace("public/lab")
    store.delete_topic("persistent://public/lab/x-partition-0")
    store.delete_namespace("public/lab")
    assert store.partitions("persistent://public/lab/x") == 0


def damage_file(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_a_damaged_registry_is_taken_from_its_copy(tmp_path: Path) -> None:
    store = Store(tmp_path, FsyncPolicy.ALWAYS)
    store.create_namespace("public/lab", {"deduplicationEnabled": False})
    store.close()
    damage_file(tmp_path / "registry.json")
    store = Store(tmp_path)
    assert store.policies("public/lab") == {"deduplicationEnabled": False}
    assert "registry.json" in store.damage[0]
    assert "offset" in store.damage[0]
    store.close()


def test_a_lost_registry_is_made_up_from_the_topics(store: Store) -> None:
    store.create_tenant("acme")
    store.create_namespace("acme/lab")
    name = "persistent://acme/lab/x"
    store.set_partitions(name, 3)
    for number in range(3):
        store.open_topic(f"{name}-partition-{number}")
    store.close()
    damage_file(store.folder / "registry.json")
    damage_file(store.folder / "ledgers.json")
    store = Store(store.folder, FsyncPolicy.NEVER)
    assert store.namespaces("acme") == ["acme/lab"]
    assert store.partitions(name) == 3
    assert len(store.damage) == 2
    store.close()


def test_damaged_small_files_of_a_topic(store: Store) -> None:
    log = store.open_topic(TOPIC)
    position = log.append(blob("p", 7), 1, 1)
    store.save_cursor(TOPIC, "s", CursorState(position))
    store.save_sequences(TOPIC, {"p": 7}, position)
    store.close()
    folder = store.folder / "topics/public/default/video"
    for name in ("topic.json", "cursors.json", "sequences.json"):
        damage_file(folder / name)
    store = Store(store.folder, FsyncPolicy.NEVER)
    assert len(read_all(store.open_topic(TOPIC))) == 1
    assert store.load_cursors(TOPIC) == {}
    assert store.load_sequences(TOPIC) == {"p": 7}
    assert len(store.damage) == 3
    store.close()


def test_torn_tails_are_reported_at_the_start(store: Store) -> None:
    store.open_topic(TOPIC).append(b"x" * 100, 1, 1)
    kill(store)
    path = next((store.folder / "topics/public/default/video").glob("*.seg"))
    with open(path, "ab") as file:
        file.write(b"torn")
    store = Store(store.folder, FsyncPolicy.NEVER)
    assert len(store.damage) == 1
    assert "torn tail" in store.damage[0]
    assert str(path) in store.damage[0]
    store.close()


def test_the_list_of_damage_is_bounded(store: Store) -> None:
    for number in range(3000):
        store._report(f"damage {number}")
    assert len(store.damage) == 1000


def test_ledgers_are_never_given_twice(store: Store) -> None:
    seen = set()
    for turn in range(4):
        for name in ("a", "b"):
            log = store.open_topic(f"persistent://public/default/{name}")
            seen.add((turn, name, log.append(b"x", 1, 1).ledger))
        if turn % 2:
            store = again(store)
        else:
            kill(store)
            store = Store(store.folder, FsyncPolicy.NEVER)
    assert len({ledger for *_, ledger in seen}) == len(seen)
    store.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_sweeping_keeps_what_a_subscription_needs(store: Store) -> None:
    none = {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}
    store.set_policy("public/default", "retention_policies", none)
    log = store.open_topic(TOPIC)
    positions = [log.append(b"x" * 100, 1, 1) for _ in range(200)]
    store.save_cursor(TOPIC, "slow", CursorState(positions[99]))
    store.save_cursor(TOPIC, "fast", CursorState(positions[-1]))
    assert store.sweep() > 0
    assert positions[0] < log.first <= positions[100]
    store.delete_cursor(TOPIC, "slow")
    store.sweep()
    assert log.entries == 0


def test_sweeping_goes_by_age_and_size(store: Store) -> None:
    limits = {"retentionTimeInMinutes": 10, "retentionSizeInMB": -1}
    store.set_policy("public/default", "retention_policies", limits)
    log = store.open_topic(TOPIC)
    for _ in range(200):
        log.append(b"x" * 100, 1, 1)
    assert store.sweep(now_ms() + 9 * 60_000) == 0
    assert store.sweep(now_ms() + 11 * 60_000) > 0
    assert log.entries == 0
    forever = {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}
    store.set_topic_policy(TOPIC, "retention", forever)
    log.append(b"x", 1, 1)
    assert store.sweep(now_ms() + 10**12) == 0


def test_sweeping_reaches_closed_topics(store: Store) -> None:
    log = store.open_topic(TOPIC)
    for _ in range(100):
        log.append(b"x" * 100, 1, 1)
    store.close_topic(TOPIC)
    later = now_ms() + 2 * 86_400_000
    assert store.sweep(later) > 0
    assert store.sizes() == {}
    assert store.open_topic(TOPIC).entries == 0


def test_a_sweep_that_meets_a_broken_disk_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        store.open_topic(f"persistent://public/default/{name}").append(b"x", 1, 1)
    real = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if "/a/" in str(path):
            raise OSError(errno.EIO, "Input/output error")
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert store.sweep(now_ms() + 2 * 86_400_000) == 1
    assert "Cannot remove" in store.damage[0]


WRITER = """
import sys
from pathlib import Path
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.values import CursorState, FsyncPolicy
from tests.broker_storage.logs import TOPIC, blob
store = Store(Path(sys.argv[1]), FsyncPolicy(sys.argv[2]), segment_bytes=100_000)
log = store.open_topic(TOPIC)
last = store.load_sequences(TOPIC).get("p", 0)
while True:
    last += 1
    position = log.append(blob("p", last, b"x" * (last % 700)), last, 1)
    store.save_cursor(TOPIC, "s", CursorState(position))
    if last % 50 == 0:
        store.save_sequences(TOPIC, {"p": last}, position)
    print(last, *position, flush=True)
"""


@pytest.mark.parametrize("policy", ["never", "interval"])
def test_kill_minus_nine_loses_nothing_that_was_said(tmp_path: Path, policy: str) -> None:
    chance = random.Random(7)
    told = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "data"), policy],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randrange(300, 900))]
        process.send_signal(signal.SIGKILL)
        lines += [line for line in process.stdout if line.endswith("\n")]
        process.wait()
        process.stdout.close()
        words = [line.split() for line in lines]
        assert [int(number) for number, *_ in words] == list(range(told + 1, told + 1 + len(words)))
        store = Store(tmp_path / "data", FsyncPolicy.NEVER)
        log = store.open_topic(TOPIC)
        stored = {entry.position: entry.publish_ms for entry in read_all(log, batch=200)}
        for number, ledger, entry in words:
            assert stored[Position(int(ledger), int(entry))] == int(number)
        assert sorted(stored.values()) == list(range(1, len(stored) + 1))
        assert store.load_sequences(TOPIC) == {"p": len(stored)}
        assert store.load_cursors(TOPIC)["s"].mark_delete <= max(stored)
        told = len(stored)
        kill(store)
