"""The recorder role on a broker in memory: past, live, what is in the way, what ends it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.recorder.rooms import (
    FPS,
    T0_US,
    TYPES,
    Room,
    decoded,
    pictures,
    read,
    record,
    room,
    sound,
)
from tests.replayer.fakes import FakeBroker
from wtp.config.schema import Settings
from wtp.consumer.pieces import as_script, chat_text
from wtp.errors import BrokerUnavailable, MediaError, NotFound, StorageError, UsageError
from wtp.model import Kind
from wtp.recorder import run as run_module
from wtp.recorder.files import PartFile
from wtp.recorder.request import RecordRequest
from wtp.recorder.run import Recorder
from wtp.replayer.when import EARLIEST, Moment
from wtp.ui import record as ui

S_US = 1_000_000


async def test_a_room_with_chat(tmp_path: Path) -> None:
    path = tmp_path / "room.mp4"
    source = room(seconds=4.0).say("hi <b>", S_US).say("a\n\nb", 3 * S_US, "bob")
    shot = await record(path, source.broker())
    streams = {stream.title: stream for stream in read(path)}
    assert set(streams) == {"cam/video", "cam/audio", "chat"}
    assert len(streams["cam/video"].times) == 4 * FPS
    said = [one[2:].decode() for one in streams["chat"].payloads if len(one) > 2]
    assert said[0] == "ann: hi <b>"
    assert said[1].endswith("bob: a\nb")
    assert shot["state"] == "stopped"
    assert shot["parts"] == [{"file": str(path), "bytes": path.stat().st_size}]
    assert shot["recorded_us"] == pytest.approx(4 * S_US, abs=20_000)
    dropped = sum(shot["dropped"].values())
    assert shot["delivered"] + dropped == shot["objects"] == len(source.messages)


async def test_a_part_of_the_past(tmp_path: Path) -> None:
    path = tmp_path / "room.mkv"
    start, end = Moment(T0_US + S_US), Moment(T0_US + 3 * S_US)
    await record(path, room(seconds=4.0).broker(), start=start, end=end)
    seen, heard = read(path)
    assert seen.keys[0]
    assert seen.times[-1] - seen.times[0] == pytest.approx(2.0, abs=0.01)
    assert len(heard.times) == pytest.approx(200, abs=2)


async def test_tracks_chosen(tmp_path: Path) -> None:
    source = room().put(pictures("h264", 2.0), TYPES["h264"], publisher="dog")
    await record(tmp_path / "dog.mp4", source.broker(), publisher="dog")
    assert [stream.title for stream in read(tmp_path / "dog.mp4")] == ["dog/video"]
    await record(tmp_path / "all.mp4", source.broker(), kinds=(Kind.VIDEO,))
    assert [stream.title for stream in read(tmp_path / "all.mp4")] == ["cam/video", "dog/video"]


async def test_sound_alone(tmp_path: Path) -> None:
    source = Room().put(sound("opus", 2.0), TYPES["opus"], kind=Kind.AUDIO)
    await record(tmp_path / "sound.webm", source.broker())
    (heard,) = read(tmp_path / "sound.webm")
    assert heard.codec == "opus"
    assert len(heard.times) == len(sound("opus", 2.0))


async def test_segments_are_numbered(tmp_path: Path) -> None:
    shot = await record(tmp_path / "room.mkv", room(seconds=4.0).broker(), segment_s=1.5)
    names = [Path(part["file"]).name for part in shot["parts"]]
    assert names == ["room.mkv", "room-002.mkv", "room-003.mkv"]
    for name in names:
        assert sum(1 for _ in decoded(tmp_path / name)) in (45, 30)


async def test_a_publisher_that_comes_back_goes_on_in_the_file(tmp_path: Path) -> None:
    source = Room().put(pictures("h264", 2.0), TYPES["h264"])
    source.seqs.clear()
    source.put(pictures("h264", 2.0), TYPES["h264"], shift_us=5 * S_US, instance="run-2")
    shot = await record(tmp_path / "room.mp4", source.broker())
    assert len(shot["parts"]) == 1
    (seen,) = read(tmp_path / "room.mp4")
    assert len(seen.times) == 4 * FPS
    assert seen.times[2 * FPS] == pytest.approx(5.0, abs=0.001)


async def test_what_the_container_cannot_hold_is_said_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(MediaError, match="webm cannot hold video/h264") as caught:
        await record(tmp_path / "room.webm", room().broker())
    assert ".mp4 or .mkv" in caught.value.hint
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("taken", ["room.mp4", "room-002.mp4"])
async def test_files_in_the_way(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"precious")
    with pytest.raises(UsageError, match=taken) as caught:
        await record(tmp_path / "room.mp4", room().broker())
    assert "--force" in caught.value.hint
    assert (tmp_path / taken).read_bytes() == b"precious"
    await record(tmp_path / "room.mp4", room().broker(), force=True)
    assert len(read(tmp_path / "room.mp4")) == 2


def test_requests_that_cannot_be_meant(tmp_path: Path) -> None:
    for path, error in (
        (tmp_path / "none" / "room.mp4", StorageError), (tmp_path / "room.avi", UsageError),
    ):  # fmt: skip
        with pytest.raises(error) as caught:
            RecordRequest(path=path).check()
        assert caught.value.hint
    path = tmp_path / "room.mp4"
    for request in (
        RecordRequest(path=path, kinds=(Kind.FILE,)),
        RecordRequest(path=path, segment_s=0.2),
        RecordRequest(path=path, start=EARLIEST, end=Moment(1), follow=True),
    ):
        with pytest.raises(UsageError) as wrong:
            request.check()
        assert wrong.value.hint
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UsageError, match="folder"):
        RecordRequest(path=tmp_path / "folder.mp4").check()


async def test_a_room_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no room") as caught:
        await record(tmp_path / "room.mp4", FakeBroker())
    assert "lab" in caught.value.hint
    with pytest.raises(NotFound, match="neither pictures nor sound"):
        await record(tmp_path / "room.mp4", Room().say("hi", 0).broker())


async def test_live_with_a_track_that_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "LOOK_S", 0.02)
    cam = Room().put(pictures("h264", 2.0), TYPES["h264"])
    heard = Room().put(sound("opus", 2.0), TYPES["opus"], kind=Kind.AUDIO)
    broker = FakeBroker({cam.messages[0][1].topic: []})
    request = RecordRequest(path=tmp_path / "room.mkv", start=EARLIEST, follow=True)
    role = Recorder(Settings(), request, broker=lambda: broker, directory=broker.directory)
    ready = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(role.run(lambda _: ready.set()))
        await ready.wait()
        await broker.append(*(message for _, message in cam.messages[:45]))
        await _until(lambda: role.snapshot()["objects"] == 45)
        await broker.append(*(message for _, message in heard.messages))
        await broker.append(*(message for _, message in cam.messages[45:]))
        await _until(lambda: role.snapshot()["objects"] == 60 + len(heard.messages))
        role.stop()
    shot = role.snapshot()
    assert shot["live"]
    files = [read(Path(part["file"])) for part in shot["parts"]]
    titles = [sorted(stream.title for stream in streams) for streams in files]
    assert titles[-1] == ["cam/audio", "cam/video", "chat"]
    shown = [stream for streams in files for stream in streams if stream.title == "cam/video"]
    assert sum(len(stream.times) for stream in shown) == 60


async def test_a_broker_that_goes_away_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be asked for is not taken for a new topic; the recording goes on."""
    monkeypatch.setattr(run_module, "LOOK_S", 0.01)
    cam = Room().put(pictures("h264", 2.0), TYPES["h264"])
    broker = FakeBroker({cam.messages[0][1].topic: []})
    request = RecordRequest(path=tmp_path / "room.mkv", start=EARLIEST, follow=True)
    role = Recorder(Settings(), request, broker=lambda: broker, directory=broker.directory)
    ready = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(role.run(lambda _: ready.set()))
        await ready.wait()
        opened = len(broker.readers)
        broker.admin_error = BrokerUnavailable("The admin side does not answer.")
        await broker.append(*(message for _, message in cam.messages[:30]))
        await _until(lambda: role.snapshot()["objects"] == 30)
        await asyncio.sleep(0.1)
        assert len(broker.readers) == opened
        broker.admin_error = None
        await broker.append(*(message for _, message in cam.messages[30:]))
        await _until(lambda: role.snapshot()["objects"] == 60)
        role.stop()
    assert len(read(tmp_path / "room.mkv")[0].times) == 60


async def _until(condition: object) -> None:
    assert callable(condition)
    while not condition():
        await asyncio.sleep(0.01)


async def test_waiting_for_a_room_ends_when_stopped(tmp_path: Path) -> None:
    broker = FakeBroker()
    request = RecordRequest(path=tmp_path / "room.mp4", wait=True)
    role = Recorder(Settings(), request, broker=lambda: broker, directory=broker.directory)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(role.run(lambda _: None))
        await asyncio.sleep(0)
        assert not running.done()
        role.stop()
    assert os.listdir(tmp_path) == []
    assert "no file" in _plain(ui.summary(role.snapshot()))


async def test_a_full_disk_ends_it_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PartFile.write

    def full(self: PartFile, data: bytes) -> int:
        if self.size_bytes > 50_000:
            self._cut()
            raise StorageError("room.mp4: No space left.", hint="Free some space.")
        return write(self, data)

    monkeypatch.setattr(PartFile, "write", full)
    with pytest.raises(StorageError, match="No space"):
        await record(tmp_path / "room.mp4", room(seconds=4.0).broker())
    assert sum(1 for _ in decoded(tmp_path / "room.mp4")) >= FPS


def test_a_file_is_cut_to_what_is_whole(tmp_path: Path) -> None:
    file = PartFile(tmp_path / "a", force=False)
    file.write(b"whole")
    file.mark()
    file.write(b"half")
    assert file.seek(2) == 2
    file.write(b"O")
    assert file.tell() == 3
    file._cut()
    file.close()
    file.close()
    assert (tmp_path / "a").read_bytes() == b"whOle"


def test_chat_lines() -> None:
    assert chat_text({}, "", b"x") == "unknown: x"
    assert chat_text({"author": "eve\x1b"}, "p", b"a\r\n\n  \nb") == "eve\\x1b: a\nb"
    assert chat_text({}, "p", b"") == "p: "
    assert as_script("a <b> & c") == "a &lt;b&gt; &amp; c"


async def test_what_is_shown(tmp_path: Path) -> None:
    shot = await record(tmp_path / "room.mp4", room().broker())
    assert "recorded" in ui.line(shot)
    assert "room.mp4" in _plain(ui.summary(shot))
    assert "cam/video" in _plain(ui.screen(shot))
    starting = {**shot, "state": "playing", "parts": [], "live": True}
    assert "waiting for a key frame" in ui.line(starting)
    info = {"topics": ["persistent://public/r/video"], "room": "r", "file": "a.mp4", "live": True}
    assert ui.announce(info) == "Recording video of r to a.mp4: live, until Ctrl-C."


def _plain(renderable: object) -> str:
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()
