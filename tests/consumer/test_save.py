from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from tests.consumer.fakes import DOMAIN, foreign, item, message
from wtp.consumer import save as save_module
from wtp.consumer.item import Item
from wtp.consumer.save import Save
from wtp.errors import StorageError, UsageError
from wtp.model import Kind


def save(folder: Path, items: list[Item], *, force: bool = False) -> list[str]:
    output = Save(folder, force=force)
    try:
        output.open()
        return output.take(items)
    finally:
        output.close()


def test_h264_is_one_file_per_track_with_an_index(tmp_path: Path) -> None:
    items = [
        item(message(n, key=n in (2, 4), payload=b"x" * n, stamps={"capture_us": n * 1000}))
        for n in range(1, 6)
    ]
    assert save(tmp_path, items) == ["no-key", "", "", "", ""]
    data = (tmp_path / "cam-video.h264").read_bytes()
    assert len(data) == 2 + 3 + 4 + 5
    index = (tmp_path / "cam-video.h264.index.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in index]
    assert [line["seq"] for line in lines] == [2, 3, 4, 5]
    assert [line["offset"] for line in lines] == [0, 2, 5, 9]
    assert [line["size"] for line in lines] == [2, 3, 4, 5]
    assert [line["key"] for line in lines] == [True, False, True, False]
    assert lines[0]["capture_us"] == DOMAIN.anchor_us + 2000


def test_pictures_that_stand_alone_are_files_of_their_own(tmp_path: Path) -> None:
    items = [
        item(message(n, content_type="image/jpeg", payload=b"j%d" % n, stamps={"capture_us": n}))
        for n in (1, 2)
    ]
    save(tmp_path, items)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"cam-video-{DOMAIN.anchor_us + n:016d}-{n:08d}.jpg" for n in (1, 2)]
    assert (tmp_path / names[1]).read_bytes() == b"j2"


def test_chat_is_text_and_data_is_bytes(tmp_path: Path) -> None:
    chat = [
        item(message(n, kind=Kind.CHAT, content_type="text/plain", payload=text,
                     track="default/ann/chat"))
        for n, text in enumerate([b"hello\n", b"\x1b[2J"], 1)
    ]  # fmt: skip
    data = [
        item(message(n, kind=Kind.DATA, content_type="", key=False, payload=b"%d\x00" % n,
                     track="default/ann/data"))
        for n in (1, 2)
    ]  # fmt: skip
    save(tmp_path, [*chat, *data, item(foreign(b"raw"))])
    assert (tmp_path / "ann-chat.txt").read_text() == "hello\n\\x1b[2J\n"
    assert not (tmp_path / "ann-chat.txt.index.jsonl").exists()
    assert (tmp_path / "ann-data.bin").read_bytes() == b"1\x002\x00"
    assert (tmp_path / "video.bin").read_bytes() == b"raw"


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    items = [item(message(1, payload=b"first"))]
    save(tmp_path, items)
    with pytest.raises(UsageError) as error:
        save(tmp_path, [item(message(1, payload=b"second"))])
    assert "--force" in error.value.hint
    assert (tmp_path / "cam-video.h264").read_bytes() == b"first"
    save(tmp_path, [item(message(1, payload=b"2nd"))], force=True)
    assert (tmp_path / "cam-video.h264").read_bytes() == b"2nd"


@pytest.mark.parametrize(
    "track",
    ["../../etc/passwd", "a/../..", "default/../x", "default/cam/../../x", "/", "", "\x00", "...",
     "default/-rf/.hidden", "x" * 500],
)  # fmt: skip
def test_names_never_leave_the_folder(tmp_path: Path, track: str) -> None:
    folder = tmp_path / "in" / "here"
    made = message(1, track=track)
    save(folder, [item(made)])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        assert path.parent == folder
        assert path.name[0] not in ".-"


def test_tracks_that_clean_to_one_name_stay_apart(tmp_path: Path) -> None:
    items = [item(message(1, track=f"default/cam/{name}")) for name in ("a b", "a-b", "A-b")]
    save(tmp_path, items)
    assert sorted(path.name for path in tmp_path.glob("*.h264")) == [
        "cam-A-b-3.h264",
        "cam-a-b-2.h264",
        "cam-a-b.h264",
    ]


def test_many_tracks_do_not_use_up_the_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(save_module, "MAX_OPEN", 2)
    items = [
        item(message(n, track=f"default/p{p}/video", payload=b"%d" % n))
        for n in (1, 2, 3)
        for p in range(5)
    ]
    save(tmp_path, items)
    for p in range(5):
        assert (tmp_path / f"p{p}-video.h264").read_bytes() == b"123"
        index = (tmp_path / f"p{p}-video.h264.index.jsonl").read_text()
        assert len(index.splitlines()) == 3


def test_a_full_disk_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError) as error:
        save(tmp_path, [item(message(1))])
    assert "No space left" in error.value.message
    assert "Free some space" in error.value.hint


def test_a_file_in_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError):
        save(tmp_path / "file", [])
    with pytest.raises(StorageError):
        save(tmp_path / "file" / "below", [])


def test_the_index_tells_where_decoding_of_messages_that_are_not_ours_can_start(
    tmp_path: Path,
) -> None:
    start, unit = b"\0\0\0\1", bytes(12)
    sps, pps, idr, inter = (start + bytes([kind]) + unit for kind in (0x67, 0x68, 0x65, 0x41))
    units = [sps + pps + idr, inter, idr, sps + pps + idr]
    save(tmp_path, [item(foreign(one, position=f"1:{n}")) for n, one in enumerate(units)])
    save(tmp_path, [item(foreign(b"\1\2", key="default/ann/data"))])
    lines = (tmp_path / "video.h264.index.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [True, False, False, True]
    (line,) = (tmp_path / "ann-data.bin.index.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] is True
