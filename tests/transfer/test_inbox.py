"""Receiving files: any mixture, any break, any damage; only whole and verified files appear."""

from __future__ import annotations

import errno
import logging
import os
import random
from pathlib import Path

import pytest

from tests.transfer.files import Sent, files_in, give, left_over, noise, receiving
from wtp.errors import StorageError
from wtp.transfer import inbox as module
from wtp.transfer import parts
from wtp.transfer.inbox import Inbox
from wtp.transfer.parts import Announcement, Void, Written, write_announcement, write_void


def test_a_file_appears_when_it_is_whole_and_verified(tmp_path: Path) -> None:
    sent = Sent("a/b.bin", noise(950))
    with receiving(tmp_path) as inbox:
        assert set(give(inbox, sent.all[:-1])) == {""}
        assert files_in(tmp_path) == {}
        give(inbox, [sent.end])
        assert files_in(tmp_path) == {"a/b.bin": sent.data}
        assert inbox.figures()["received"] == 1
        assert left_over(tmp_path) == []
    info = (tmp_path / "a/b.bin").stat()
    assert info.st_mtime_ns == sent.modified_us * 1000
    assert info.st_mode & 0o7111 == 0


def test_empty_files_and_folders_come_too(tmp_path: Path) -> None:
    folder = Announcement("ff" * 16, "ee" * 16, "d/empty", 0, 0, 1, folder=True)
    with receiving(tmp_path) as inbox:
        give(inbox, [*Sent("d/nothing", b"").all, write_announcement(folder)])
        assert inbox.settled == 2
    assert files_in(tmp_path) == {"d/nothing": b""}
    assert (tmp_path / "d/empty").is_dir()


def test_files_of_several_publishers_are_told_apart(tmp_path: Path) -> None:
    one, two = Sent("one", noise(450, 1)), Sent("two", noise(450, 2))
    same = Sent("two", noise(450, 3))
    with receiving(tmp_path) as inbox:
        for first, second, third in zip(one.all, two.all, same.all, strict=True):
            give(inbox, [first], "room/ann/file")
            give(inbox, [second], "room/bob/file")
            give(inbox, [third], "room/eve/file")
        assert inbox.figures()["refused"] == 1
    assert files_in(tmp_path) == {"one": one.data, "two": two.data}


def test_a_restarted_receiver_goes_on_and_leaves_out_what_it_has(tmp_path: Path) -> None:
    sent = Sent("big", noise(1000))
    with receiving(tmp_path) as inbox:
        give(inbox, [sent.head, *sent.chunks[:4], sent.chunks[8]])
    with receiving(tmp_path) as inbox:
        reasons = give(inbox, sent.all)
        assert reasons.count("here-already") == 5
        assert files_in(tmp_path) == {"big": sent.data}


def test_a_restarted_receiver_needs_no_second_announcement(tmp_path: Path) -> None:
    sent = Sent("big", noise(1000))
    with receiving(tmp_path) as inbox:
        give(inbox, [sent.head, *sent.chunks[:4]])
    with receiving(tmp_path) as inbox:
        assert set(give(inbox, [*sent.chunks[4:], sent.end])) == {""}
        assert files_in(tmp_path) == {"big": sent.data}


@pytest.mark.parametrize("force", [False, True])
def test_what_was_killed_before_its_last_step_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    sent = Sent("big", noise(1000))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with receiving(tmp_path, force=force) as inbox, monkeypatch.context() as patch:
        patch.setattr("wtp.transfer.records.Records.received", killed)
        with pytest.raises(KeyboardInterrupt):
            give(inbox, sent.all)
    assert len(left_over(tmp_path)) == 3
    with receiving(tmp_path, force=force) as inbox:
        assert inbox.figures()["received"] == 1
    assert files_in(tmp_path) == {"big": sent.data}
    assert left_over(tmp_path) == []


def test_a_received_file_is_not_received_again(tmp_path: Path) -> None:
    sent = Sent("x", noise(200))
    with receiving(tmp_path) as inbox:
        give(inbox, sent.all)
    with receiving(tmp_path) as inbox:
        assert set(give(inbox, sent.all)) == {"here-already"}
        assert inbox.here == 1
        # Published once more, it lies there unchanged.
        assert set(give(inbox, sent.all, run="r2")) == {"here-already"}
        (tmp_path / "x").unlink()
    with receiving(tmp_path) as inbox:
        give(inbox, sent.all)
        assert files_in(tmp_path) == {}, "it was taken away: the old run does not bring it back"
        give(inbox, sent.all, run="r2")
        assert files_in(tmp_path) == {"x": sent.data}


def test_missing_chunks_are_named_and_a_second_sending_fills_them_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = Sent("big", noise(1000))
    lost = {2, 5, 6}
    arrived = [chunk for index, chunk in enumerate(sent.chunks) if index not in lost]
    with receiving(tmp_path) as inbox:
        give(inbox, [sent.head, *arrived, sent.end])
        assert "3 of 10 chunks are missing (2, 5-6). Publish it again" in caplog.text
        assert files_in(tmp_path) == {}
        assert inbox.figures()["files"][0]["missing"] == 3
        reasons = give(inbox, sent.all, run="r2")
        assert reasons.count("here-already") == 7 + 1  # its end came when it was whole already
    assert files_in(tmp_path) == {"big": sent.data}


def test_a_damaged_chunk_is_named_and_not_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = Sent("big", noise(1000))
    payload, attributes = sent.chunks[3]
    sent.chunks[3] = (payload[:-1] + bytes([payload[-1] ^ 1]), attributes)
    with receiving(tmp_path) as inbox:
        assert give(inbox, sent.all)[4] == "damaged"
        assert "big: chunk 3 is damaged" in caplog.text
        assert "1 of 10 chunks are missing (3)" in caplog.text
        assert files_in(tmp_path) == {}
        give(inbox, [(payload, attributes)])
    assert files_in(tmp_path)["big"] == sent.data


def test_damage_on_the_disk_is_found_before_the_file_appears(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = Sent("big", noise(1000))
    with receiving(tmp_path) as inbox:
        give(inbox, [sent.head, *sent.chunks])
    (part,) = (tmp_path / ".wtp-files").glob("*.part")
    with part.open("r+b") as file:
        file.seek(710)
        file.write(b"\0\0\0")
    with receiving(tmp_path) as inbox:
        give(inbox, [sent.end])
        assert files_in(tmp_path) == {}
        assert "chunk 7 was damaged on this disk" in caplog.text
        give(inbox, [sent.chunks[7]])
    assert files_in(tmp_path) == {"big": sent.data}


def test_a_file_with_another_hash_never_appears(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = Sent("big", noise(1000))
    wrong = parts.write_end(parts.End(sent.file, "00" * 32, 1000))
    with receiving(tmp_path) as inbox:
        give(inbox, [*sent.all[:-1], wrong])
        assert files_in(tmp_path) == {}
        assert "does not match its SHA-256" in caplog.text
        give(inbox, sent.all, run="r2")
    assert files_in(tmp_path) == {"big": sent.data}


def test_chunks_of_no_announced_file_are_left_out_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = Sent("big", noise(1000))
    with receiving(tmp_path) as inbox:
        assert set(give(inbox, sent.chunks)) == {"not-announced"}
        assert inbox.take("t", "r", {"file": "x"}, b"") == "no-part"
        bad = (b"x", {**sent.chunks[0][1], "index": "9"})
        give(inbox, [sent.head])
        assert give(inbox, [bad]) == ["bad-part"]
        beyond = (sent.chunks[0][0], {**sent.chunks[0][1], "index": "4000000"})
        assert give(inbox, [beyond]) == ["bad-part"]
    assert caplog.text.count("beginning is not in the topic any more") == 1


def test_a_file_that_its_sender_gives_up_leaves_nothing(tmp_path: Path) -> None:
    sent = Sent("big", noise(1000))
    with receiving(tmp_path) as inbox:
        give(inbox, [sent.head, *sent.chunks, write_void(Void(sent.file, "was changed"))])
        assert inbox.figures()["void"] == 1
    assert left_over(tmp_path) == []


def test_a_full_disk_is_a_clear_error_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent("big", noise(1000))
    room = [450]
    write = os.pwrite

    def full(file: int, data: memoryview, offset: int) -> int:
        if len(data) == 8:
            return write(file, data, offset)
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = write(file, data[: room[0]], offset)
        room[0] -= count
        return count

    with receiving(tmp_path) as inbox:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError) as error:
            give(inbox, sent.all)
        monkeypatch.undo()
        assert "big: No space left" in error.value.message
        assert "Free some space and start again" in error.value.hint
    with receiving(tmp_path) as inbox:
        assert give(inbox, sent.all).count("here-already") == 4
    assert files_in(tmp_path) == {"big": sent.data}


def test_a_journal_that_was_cut_short_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    sent = Sent("big", noise(1000))
    with receiving(tmp_path) as inbox:
        give(inbox, [sent.head, *sent.chunks[:5]])
    (journal,) = (tmp_path / ".wtp-files").glob("*.chunks")
    with journal.open("r+b") as file:
        file.truncate(8 * 3 + 5)
    with receiving(tmp_path) as inbox:
        assert give(inbox, sent.all).count("here-already") == 3
    assert files_in(tmp_path) == {"big": sent.data}


def test_two_receivers_do_not_share_a_folder(tmp_path: Path) -> None:
    with receiving(tmp_path), pytest.raises(StorageError) as error:
        Inbox(tmp_path).open()
    assert "Another process receives files" in error.value.message
    with receiving(tmp_path):
        pass


def test_another_file_of_the_same_identity_begins_anew(tmp_path: Path) -> None:
    old, new = Sent("x", noise(500), "ab" * 16), Sent("x", noise(450, 2), "ab" * 16)
    with receiving(tmp_path) as inbox:
        give(inbox, [old.head, *old.chunks])
        assert give(inbox, [new.head, old.end]) == ["", "bad-part"]
        give(inbox, [*new.chunks, new.end])
    assert files_in(tmp_path) == {"x": new.data}


def test_what_nobody_announced_ends_quietly(tmp_path: Path) -> None:
    sent = Sent("x", b"x")
    with receiving(tmp_path) as inbox:
        assert give(inbox, [sent.end, write_void(Void(sent.file, "gone"))]) == ["not-announced"] * 2
        (tmp_path / "x").write_text("mine")
        assert give(inbox, sent.all) == ["refused-file"] * 3
        assert give(inbox, [sent.head]) == ["refused-file"]
        assert inbox.refused == 1


def test_damaged_notes_of_an_earlier_run_are_left_out(tmp_path: Path) -> None:
    sent = Sent("x", b"x")
    with receiving(tmp_path) as inbox:
        give(inbox, sent.all)
    hidden = tmp_path / ".wtp-files"
    with (hidden / "received.jsonl").open("a") as notes:
        notes.write('no json\n{"key": "cut')
    (hidden / ("0" * 32 + ".json")).write_text('{"track": 1}')
    for _ in range(2):
        with receiving(tmp_path) as inbox:
            assert set(give(inbox, sent.all)) == {"here-already"}
    assert len((hidden / "received.jsonl").read_text().splitlines()) == 1


def test_a_file_in_place_of_the_hidden_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / ".wtp-files").write_text("x")
    with pytest.raises(StorageError, match="is no folder"):
        Inbox(tmp_path).open()


def test_many_unfinished_files_keep_few_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    monkeypatch.setattr(module, "MAX_COMING", 5)
    every = [Sent(f"f{n}", noise(300, n)) for n in range(6)]
    before = len(os.listdir("/proc/self/fd"))
    with receiving(tmp_path) as inbox:
        for step in range(4):
            for sent in every:
                give(inbox, [sent.all[step]])
        assert len(os.listdir("/proc/self/fd")) <= before + 2 * 2 + 3
        give(inbox, [sent.end for sent in every])
        assert inbox.figures()["received"] == 5
        assert inbox.figures()["refused"] == 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_instead_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        Inbox(tmp_path / "file").open()


def test_what_is_not_whole_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sent = Sent("big", noise(1000))
    with receiving(tmp_path) as inbox:
        give(inbox, [sent.head, *sent.chunks[:4]])
        assert list(inbox.unfinished()) == ["big is not whole: 6 of 10 chunks are missing (4-9)."]
    caplog.set_level(logging.INFO)
    with receiving(tmp_path):
        assert "big goes on: 6 of 10 chunks are missing (4-9)." in caplog.text


@pytest.mark.parametrize("seed", range(8))
def test_any_order_any_doubles_any_restarts_give_the_same_files(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    every = [Sent(f"d/{n}", noise(chance.randrange(1200), n)) for n in range(4)]
    objects: list[tuple[str, Written]] = []
    for number, sent in enumerate(every):
        track = f"room/p{number % 2}/file"
        chunks = [*sent.chunks, *chance.sample(sent.chunks, len(sent.chunks) // 2)]
        chance.shuffle(chunks)
        objects += [(track, one) for one in [sent.head, *chunks, sent.end]]
    # What two publishers send is mixed; what one sends keeps its order.
    lanes = [
        [one for one in objects if one[0] == track] for track in ("room/p0/file", "room/p1/file")
    ]
    inbox = Inbox(tmp_path)
    inbox.open()
    try:
        while any(lanes):
            track, one = chance.choice([lane for lane in lanes if lane]).pop(0)
            give(inbox, [one], track)
            if chance.random() < 0.1:
                inbox.close()
                inbox = Inbox(tmp_path)
                inbox.open()
    finally:
        inbox.close()
    assert files_in(tmp_path) == {sent.name: sent.data for sent in every}
    assert left_over(tmp_path) == []
