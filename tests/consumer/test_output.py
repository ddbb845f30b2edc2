from __future__ import annotations

import csv
import json
import os
import pty
import threading
from pathlib import Path

import pytest

from tests.consumer.fakes import FakeMessage, foreign, item, message
from wtp.consumer.item import Item
from wtp.consumer.output import (
    CSV_COLUMNS,
    STALE_US,
    Lines,
    Nowhere,
    Raw,
    Sink,
    csv_line,
    escape,
    json_line,
)
from wtp.errors import StorageError, UsageError
from wtp.model import Kind


def chat(text: bytes, author: str = "ann", track: str = "default/bob/chat") -> Item:
    attributes = {"author": author} if author else {}
    return item(
        message(
            kind=Kind.CHAT, content_type="text/plain", payload=text, track=track,
            attributes=attributes,
        )
    )  # fmt: skip


def test_joined_emoji_stay_whole() -> None:
    family = "👩‍👩‍👧"
    assert escape(family) == family


def test_json_lines_are_ascii_and_complete() -> None:
    line = json_line(chat("grüß\x1b".encode()))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["text"] == "grüß\x1b"


def test_csv_lines_have_every_column() -> None:
    line = csv_line(item(message(3, track='odd,"name"', stamps={"capture_us": 1})))
    (row,) = csv.reader([line])
    values = dict(zip(CSV_COLUMNS, row, strict=True))
    assert values["track"] == 'odd,"name"'
    assert values["seq"] == "3"
    assert values["encode_us"] == ""
    assert values["key"] == "1"


def test_nowhere_takes_everything() -> None:
    assert Nowhere().take([item(message())] * 3) == ["", "", ""]


def test_lines_go_to_a_file_with_their_head(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    lines = Lines(lambda one: str(one.size_bytes), Sink(str(path)), "size")
    lines.open()
    assert lines.take([item(message()), item(foreign(b"123"))]) == ["", ""]
    lines.close()
    assert path.read_text() == "size\n7\n3\n"


def test_files_are_not_overwritten_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "out.h264"
    path.write_bytes(b"old and long")
    with pytest.raises(UsageError) as error:
        Sink(str(path)).open()
    assert "--force" in error.value.hint
    assert path.read_bytes() == b"old and long"
    sink = Sink(str(path), force=True)
    sink.open()
    sink.write(b"new")
    sink.close()
    assert path.read_bytes() == b"new"


def test_a_missing_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as error:
        Sink(str(tmp_path / "no" / "file")).open()
    assert "No such file" in error.value.message


def test_a_full_disk_is_a_clear_error() -> None:
    sink = Sink("/dev/full")
    sink.open()
    with pytest.raises(StorageError) as error:
        sink.write(b"x")
    sink.close()
    assert "No space left" in error.value.message
    assert "Free some space" in error.value.hint


def test_a_pipe_is_written_whole_and_its_end_shows(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []

    def read() -> None:
        with path.open("rb") as pipe:
            got.append(pipe.read(200_000))

    reader = threading.Thread(target=read)
    reader.start()
    sink = Sink(str(path))
    sink.open()
    sink.write(bytes(200_000))
    reader.join(5)
    assert len(got[0]) == 200_000
    with pytest.raises(BrokenPipeError):
        sink.write(bytes(200_000))
    sink.close()


def test_binary_does_not_go_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    kept = os.dup(1)
    try:
        os.dup2(theirs, 1)
        with pytest.raises(UsageError) as error:
            Sink("-", binary=True).open()
        Sink("-", binary=False).open()
    finally:
        os.dup2(kept, 1)
        for descriptor in (kept, ours, theirs):
            os.close(descriptor)
    assert error.value.exit_code == 2
    assert "ffplay" in error.value.hint


def picture(seq: int, *, key: bool, track: str = "default/cam/video", at_us: int = 0) -> Item:
    made: FakeMessage = message(
        seq, key=key, track=track, payload=f"{track[8]}{seq} ".encode(), at_us=at_us
    )
    return item(made)


def raw(path: Path, items: list[Item]) -> tuple[bytes, list[str]]:
    output = Raw(Sink(str(path)), lossless=True)
    output.open()
    reasons = output.take(items)
    output.close()
    return path.read_bytes(), reasons


def test_raw_pictures_begin_at_a_key_frame(tmp_path: Path) -> None:
    data, reasons = raw(
        tmp_path / "out",
        [picture(1, key=False), picture(2, key=True), picture(3, key=False)],
    )
    assert data == b"c2 c3 "
    assert reasons == ["no-key", "", ""]


def test_raw_follows_one_track_until_it_is_silent(tmp_path: Path) -> None:
    data, reasons = raw(
        tmp_path / "out",
        [
            picture(1, key=True),
            picture(7, key=True, track="default/zoo/video", at_us=STALE_US - 1),
            picture(8, key=False, track="default/zoo/video", at_us=STALE_US),
            picture(9, key=True, track="default/zoo/video", at_us=STALE_US + 1),
            picture(2, key=True, at_us=STALE_US + 2),
        ],
    )
    assert data == b"c1 z9 "
    assert reasons == ["", "other-track", "no-key", "", "other-track"]


def test_raw_messages_of_others_pass_as_they_are(tmp_path: Path) -> None:
    data, reasons = raw(tmp_path / "out", [item(foreign(b"\x00\xff")), chat(b"hi")])
    assert data == b"\x00\xffhi"
    assert reasons == ["", ""]
