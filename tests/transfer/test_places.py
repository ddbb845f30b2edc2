"""Where received files go: never outside, never over what is there without --force."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.transfer.files import Sent, files_in, give, left_over, noise, receiving


@pytest.mark.parametrize("held", ["README", "readme"])
def test_a_name_that_is_taken_is_refused_also_in_another_case(
    tmp_path: Path, held: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / held).write_text("mine")
    sent = Sent("README", noise(200))
    with receiving(tmp_path) as inbox:
        assert set(give(inbox, sent.all)) == {"refused-file"}
        assert set(give(inbox, Sent("other", b"x").all)) == {""}
    assert files_in(tmp_path) == {held: b"mine", "other": b"x"}
    assert "Not received: README" in caplog.text


def test_force_replaces_a_file_but_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    (tmp_path / "X").write_text("another")
    (tmp_path / "d").mkdir()
    with receiving(tmp_path, force=True) as inbox:
        give(inbox, [*Sent("x", b"new").all, *Sent("d", b"new").all])
        assert inbox.figures()["refused"] == 1
    assert files_in(tmp_path) == {"x": b"new", "X": b"another"}
    assert left_over(tmp_path) == []


def test_a_name_taken_while_the_file_came_is_not_overwritten(tmp_path: Path) -> None:
    sent = Sent("x", noise(200))
    with receiving(tmp_path) as inbox:
        give(inbox, sent.all[:-1])
        (tmp_path / "x").write_text("mine")
        give(inbox, [sent.end])
        assert inbox.figures()["refused"] == 1
    assert files_in(tmp_path) == {"x": b"mine"}
    assert left_over(tmp_path) == []


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    folder.mkdir()
    (outside / "victim").write_text("mine")
    (folder / "way").symlink_to(outside)
    (folder / "file").symlink_to(outside / "victim")
    with receiving(folder, force=True) as inbox:
        give(inbox, Sent("way/evil", b"evil").all)
        give(inbox, Sent("file", b"new").all)
        assert inbox.figures()["refused"] == 1
    assert files_in(outside) == {"victim": b"mine"}
    assert not (folder / "file").is_symlink()
    assert (folder / "file").read_bytes() == b"new"


@pytest.mark.parametrize(
    "name", ["../../evil", "/tmp/evil", "..\\evil", "\x1b[2Jevil", "evil" * 75, "con/evil", ".."]
)
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a" / "b" / "in"
    with receiving(folder) as inbox:
        give(inbox, Sent(name, b"evil").all)
        assert inbox.settled == 1
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(folder)]
    assert outside == []
    assert len(files_in(folder)) == (name != "..")


def test_a_file_system_without_links_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    with receiving(tmp_path) as inbox:
        give(inbox, Sent("d/x", b"x").all)
    assert files_in(tmp_path) == {"d/x": b"x"}
