"""Sending files: what is found, how it is cut, and how a broken run is taken up again."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from tests.transfer.files import files_in, noise
from wtp.clock import Clock
from wtp.config.schema import PublishSettings
from wtp.errors import MediaError, StorageError, UsageError
from wtp.model import Object
from wtp.publisher.files import FilesFeed
from wtp.publisher.outgoing import Line
from wtp.transfer.inbox import Inbox
from wtp.transfer.reading import ChunkReader
from wtp.transfer.spool import DONE, Spool, parse
from wtp.transfer.walk import find
from wtp.wire.objects import ObjectParser

CHUNK_BYTES = 100


class Router:
    """Takes a track's objects and receipts the first `most` of them, all when None."""

    peer = ("127.0.0.1", 4433)

    def __init__(self, feed: FilesFeed, most: int | None = None, room: str = "den") -> None:
        self.query = {"room": room}
        self.objects: list[Object] = []
        self.reached = asyncio.Event()
        self.refuses: set[int] = set()
        self._feed = feed
        self._most = most
        self._parser = ObjectParser()
        self._typed = False
        feed.track.attach(Line(self, feed.track._clock, 0), 0)

    def open_stream(self, rank: int = 0, after: int | None = None) -> int:
        return 2

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        if not self._typed:
            self._typed, data = True, data[1:]
        for one in self._parser.feed(data) if data else ():
            self.objects.append(one.obj)
            asyncio.get_running_loop().call_soon(self._receipt, one.obj.seq)

    def _receipt(self, seq: int) -> None:
        if seq in self.refuses:
            self._feed.track.rejected(seq, "too-large", "It is too large.")
        elif self._most is None or seq <= self._most:
            self._feed.track.receipt(seq)
        if seq == self._most:
            self.reached.set()

    def reset(self, stream: int, code: int) -> None:
        raise AssertionError

    def backlog(self, stream: int | None = None) -> int:
        return 0

    def parts(self) -> list[str]:
        """`file`, `0`, `1`, ..., `end`."""
        return [o.attributes.get("index", o.attributes["part"]) for o in self.objects]


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTP_HOME", str(tmp_path_factory.mktemp("home")))


def journals() -> list[Path]:
    return sorted((Path(os.environ["WTP_HOME"]) / "spool").glob("*"))


def feed_of(*paths: Path) -> FilesFeed:
    return FilesFeed(
        paths, 1, "file", PublishSettings(), Clock(), publisher="ann", chunk_bytes=CHUNK_BYTES
    )


async def send(*paths: Path, room: str = "den") -> Router:
    feed = feed_of(*paths)
    router = Router(feed, room=room)
    try:
        async with asyncio.timeout(60):
            await feed.run()
    finally:
        feed.close()
        feed.track.close()
    assert feed.figures()["transfer"]["done"] == feed.figures()["transfer"]["files"]
    return router


async def break_off(*paths: Path, after: int) -> Router:
    """Send until `after` objects are receipted, then stop as Ctrl-C does."""
    feed = feed_of(*paths)
    router = Router(feed, after)
    running = asyncio.create_task(feed.run())
    async with asyncio.timeout(60):
        await router.reached.wait()
        feed.stop()
        await running
    feed.close()
    feed.track.close()
    return router


def receive(folder: Path, *routers: Router) -> None:
    inbox = Inbox(folder)
    inbox.open()
    for number, router in enumerate(routers):
        for obj in router.objects:
            inbox.take("den/ann/file", f"r{number}", obj.attributes, obj.payload)
    inbox.close()


def file_of(folder: Path, name: str, size: int, seed: int = 1) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(noise(size, seed))
    return path


async def test_files_and_folders_arrive_as_they_were(tmp_path: Path) -> None:
    tree, single = tmp_path / "tree", file_of(tmp_path, "single.bin", 250)
    file_of(tree, "a.bin", 1000)
    file_of(tree, "deep/er/b.bin", 100, 2)
    file_of(tree, "deep/empty.bin", 0)
    (tree / "nothing").mkdir()
    router = await send(single, tree)
    receive(tmp_path / "in", router)
    expected = {"single.bin": single.read_bytes()}
    expected |= {f"tree/{name}": data for name, data in files_in(tree).items()}
    assert files_in(tmp_path / "in") == expected
    assert (tmp_path / "in/tree/nothing").is_dir()
    assert journals() == []


async def test_every_chunk_carries_what_a_stranger_needs(tmp_path: Path) -> None:
    path = file_of(tmp_path, "x.bin", 250)
    router = await send(path)
    assert router.parts() == ["file", "0", "1", "2", "end"]
    assert b"".join(o.payload for o in router.objects[1:4]) == path.read_bytes()
    assert hashlib.sha256(path.read_bytes()).hexdigest().encode() in router.objects[4].payload


async def test_a_broken_run_is_taken_up_where_the_receipts_ended(tmp_path: Path) -> None:
    path = file_of(tmp_path, "x.bin", 1000)
    first = await break_off(path, after=5)  # the announcement and four chunks
    assert len(journals()) == 1
    second = await send(path)
    assert second.parts() == ["file", "4", "5", "6", "7", "8", "9", "end"]
    assert journals() == []
    del first.objects[5:]
    receive(tmp_path / "in", first, second)
    assert files_in(tmp_path / "in") == {"x.bin": path.read_bytes()}
    assert len((await send(path)).objects) == 12, "once more sends it whole"


async def test_whole_files_of_a_broken_run_are_not_sent_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("a", "b", "c"):
        file_of(tree, name, 150, ord(name))
    first = await break_off(tree, after=6)  # a: 4 objects; b: announcement, one chunk
    second = await send(tree)
    assert second.parts() == ["file", "1", "end", "file", "0", "1", "end"]
    receive(tmp_path / "in", first, second)
    assert len(files_in(tmp_path / "in")) == 3


async def test_a_file_changed_since_is_sent_from_its_start(tmp_path: Path) -> None:
    path = file_of(tmp_path, "x.bin", 1000)
    await break_off(path, after=5)
    file_of(tmp_path, "x.bin", 900, 2)
    assert (await send(path)).parts()[:2] == ["file", "0"]


async def test_a_file_with_a_refused_chunk_is_sent_whole_by_the_next_run(tmp_path: Path) -> None:
    bad, good = file_of(tmp_path, "bad", 1000), file_of(tmp_path, "good", 300)
    feed = feed_of(bad, good)
    Router(feed).refuses = {5}
    await feed.run()
    feed.close()
    feed.track.close()
    assert feed.figures()["transfer"]["done"] == 1
    assert feed.figures()["transfer"]["failed"] == 1
    assert feed.track.refused == 1
    assert (await send(bad, good)).parts() == ["file", *"0123456789", "end"]


async def test_chunks_are_as_large_as_the_way_allows(tmp_path: Path) -> None:
    path = file_of(tmp_path, "x.bin", 3 << 20)
    sizes = []
    for query in ({"room": "den"}, None):
        feed = FilesFeed((path,), 1, "file", PublishSettings(), Clock())
        router = Router(feed)
        if query is None:  # straight to a topic: there is no session
            feed.track.place = None
        await feed.run()
        feed.close()
        feed.track.close()
        sizes.append([len(o.payload) for o in router.objects[1:-1]])
        receive(tmp_path / f"in{len(sizes)}", router)
        assert files_in(tmp_path / f"in{len(sizes)}") == {"x.bin": path.read_bytes()}
    assert sizes == [[1 << 20] * 3, [1 << 19] * 6]


async def test_another_room_knows_nothing_of_it(tmp_path: Path) -> None:
    path = file_of(tmp_path, "x.bin", 1000)
    await break_off(path, after=5)
    assert len((await send(path, room="hall")).objects) == 12


async def test_a_file_that_changes_under_way_is_given_up_and_the_others_are_sent(
    tmp_path: Path,
) -> None:
    bad, good = file_of(tmp_path, "bad", 1000), file_of(tmp_path, "good", 300)
    feed = feed_of(bad, good)
    bad.write_bytes(noise(500))
    router = Router(feed)
    with pytest.raises(MediaError, match="bad was changed while it was sent"):
        await feed.run()
    feed.close()
    feed.track.close()
    assert router.parts() == ["void", "file", "0", "1", "2", "end"]
    receive(tmp_path / "in", router)
    assert list(files_in(tmp_path / "in")) == ["good"]


def test_a_file_that_ends_early_is_no_shorter_file(tmp_path: Path) -> None:
    path = file_of(tmp_path, "x", 300)
    (entry,) = find([path]).entries
    reader = ChunkReader(entry, CHUNK_BYTES)
    reader.read()
    os.truncate(path, 150)
    with pytest.raises(MediaError, match="changed while it was sent"):
        reader.read()
    reader.close()


def test_links_found_are_left_out_and_links_named_are_followed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    target = file_of(tmp_path, "target", 10)
    file_of(tree, "plain", 10)
    (tree / "link").symlink_to(target)
    (tree / "around").symlink_to(tree)
    os.mkfifo(tree / "pipe")
    found = find([tree])
    assert [entry.name for entry in found.entries] == ["tree/plain"]
    assert len(found.skipped) == 3
    (named,) = find([tree / "link"]).entries
    assert (named.name, named.size_bytes) == ("link", 10)
    reader = ChunkReader(named, 100)
    assert reader.read() == target.read_bytes()
    reader.close()


def test_paths_that_cannot_be_sent_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be read: No such file"):
        find([tmp_path / "gone"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MediaError, match="no file and no folder"):
        find([tmp_path / "pipe"])
    one, two = file_of(tmp_path, "a/x", 1), file_of(tmp_path, "b/x", 1)
    with pytest.raises(UsageError, match="same name"):
        find([one, two])
    with pytest.raises(UsageError, match="no file to send"):
        find([])


def test_the_folder_one_is_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file_of(tmp_path / "here", "x", 1)
    monkeypatch.chdir(tmp_path / "here")
    assert [entry.name for entry in find([Path(".")]).entries] == ["here/x"]


def test_a_journal_counts_as_far_as_it_is_whole(tmp_path: Path) -> None:
    one, two = "ab" * 16, "cd" * 16
    assert parse(f"{one} 5\nnoise\n{one} 7\n{two} done\n{one} 9") == {one: 7, two: DONE}
    spool = Spool(tmp_path, "t")
    assert spool.open() == {}
    with pytest.raises(UsageError, match="Another wtp publish"):
        Spool(tmp_path, "t").open()
    spool.write({one: 3, two: DONE})
    spool.close()
    with spool.path.open("a") as file:
        file.write(f"{one} 1")
    again = Spool(tmp_path, "t")
    assert again.open() == {one: 3, two: DONE}
    again.write({one: 4})
    again.close()
    assert parse(spool.path.read_text()) == {one: 4, two: DONE}
    again.open()
    again.remove()
    assert not spool.path.exists()


async def test_a_full_disk_takes_the_journal_and_not_the_transfer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = file_of(tmp_path, "x.bin", 1000)

    def full(*_: object) -> None:
        raise StorageError("No space left on device.")

    monkeypatch.setattr(Spool, "write", full)
    monkeypatch.setattr("wtp.publisher.files.NOTE_S", 0.0)
    assert len((await send(path)).objects) == 12
    monkeypatch.undo()
    monkeypatch.setattr(Spool, "open", full)
    assert len((await send(path)).objects) == 12
    assert "the next one begins anew" in caplog.text


async def test_a_run_that_is_stopped_at_once_sends_nothing(tmp_path: Path) -> None:
    feed = feed_of(file_of(tmp_path, "x.bin", 1000))
    router = Router(feed)
    feed.stop()
    await feed.run()
    feed.close()
    assert router.objects == []
