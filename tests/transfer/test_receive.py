"""`Receive` as the consumer's output, and what both sides show."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from tests.consumer.fakes import item, message
from tests.transfer.files import Sent, files_in, noise
from wtp.consumer.files import Receive
from wtp.consumer.item import Item
from wtp.consumer.output import Finished
from wtp.errors import StorageError
from wtp.model import Kind
from wtp.ui import transfer as ui


def items(sent: Sent, track: str = "default/ann/file") -> list[Item]:
    return [
        item(message(n, kind=Kind.FILE, track=track, payload=payload, attributes=attributes))
        for n, (payload, attributes) in enumerate(sent.all, 1)
    ]


def text(shown: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False, legacy_windows=False)
    console.print(shown, markup=False)
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def test_it_ends_after_as_many_files_and_takes_no_more(tmp_path: Path) -> None:
    output = Receive(tmp_path, files=1)
    output.open()
    first, second = Sent("a", noise(250)), Sent("b", noise(250))
    output.idle()
    assert output.take(items(first) + items(second)) == [""] * 5 + ["not-wanted"] * 5
    with pytest.raises(Finished):
        output.take(items(second))
    with pytest.raises(Finished):
        output.idle()
    output.close()
    assert list(files_in(tmp_path)) == ["a"]


def test_it_fails_at_its_end_when_files_were_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    output = Receive(tmp_path, files=2)
    output.open()
    output.take(items(Sent("a", noise(250))))
    output.idle()
    output.take(items(Sent("b", noise(250))))
    with pytest.raises(StorageError, match="1 of 2 files were not received"):
        output.idle()
    output.close()


def test_it_says_at_its_end_what_is_not_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = Receive(tmp_path)
    output.open()
    output.take([*items(Sent("a", noise(250)))[:2], item(message(kind=Kind.FILE))])
    output.close()
    assert "a is not whole: 2 of 3 chunks are missing (1-2)." in caplog.text
    shown = ui.received(output.snapshot())
    assert "0 files received" in shown
    assert "a lacks 2 chunks" in shown


def test_a_foreign_message_is_no_part_of_a_file(tmp_path: Path) -> None:
    output = Receive(tmp_path)
    output.open()
    foreign = message(kind=Kind.FILE)
    foreign = type(foreign)(**{**foreign_fields(foreign), "properties": {}})
    assert output.take([item(foreign)]) == ["no-part"]
    output.close()


def foreign_fields(made: Any) -> dict[str, Any]:
    return {name: getattr(made, name) for name in made.__slots__}


def test_the_receiver_shows_a_bar_for_what_comes(tmp_path: Path) -> None:
    output = Receive(tmp_path)
    output.open()
    output.take(items(Sent("done", noise(250))))
    output.take(items(Sent("half\x1b[2J/" + "x" * 60, noise(400)))[:3])
    output.idle()
    shown = text(ui.receiving(output.snapshot()))
    output.close()
    assert "1 file received, 1 not whole yet" in shown
    assert "50 %" in shown
    assert "\x1b[2J" not in shown
    assert "━" in shown


def test_the_sender_shows_how_far_it_is() -> None:
    figures = {
        "files": 3, "done": 1, "failed": 1, "name": "b.bin", "total_bytes": 4 << 20,
        "bytes": 1 << 20, "resumed_bytes": 1 << 19, "bytes_per_s": float(1 << 20),
    }  # fmt: skip
    line = ui.sending_line(figures)
    assert line == (
        "1 of 3 files, 1 MiB of 4 MiB (25 %), 1 MiB/s, 3.0 s left, "
        "512 KiB were there from an earlier run, 1 FAILED, b.bin"
    )
    assert "25 %" in text(ui.sending(figures))
    assert "100 %" in ui.sending_line({**figures, "total_bytes": 0, "bytes": 0})
    assert "99 %" in ui.sending_line({**figures, "bytes": (4 << 20) - 1})
