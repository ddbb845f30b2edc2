"""Keys out of a terminal's bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.chat.keys import MAX_PASTE_BYTES, Key, KeyReader, clean_text


def keys(*pieces: bytes) -> list[Key]:
    reader = KeyReader()
    return [key for piece in pieces for key in reader.feed(piece)]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\r", "enter"),
        (b"\n", "enter"),
        (b"\x1b\r", "newline"),
        (b"\x7f", "backspace"),
        (b"\x08", "backspace"),
        (b"\x04", "eof"),
        (b"\x01", "home"),
        (b"\x05", "end"),
        (b"\x15", "kill-start"),
        (b"\x0b", "kill-end"),
        (b"\x17", "kill-word"),
        (b"\x1b[A", "up"),
        (b"\x1bOB", "down"),
        (b"\x1b[D", "left"),
        (b"\x1b[1;5C", "word-right"),
        (b"\x1bb", "word-left"),
        (b"\x1b[3~", "delete"),
        (b"\x1b[H", "home"),
        (b"\x1b[4~", "end"),
    ],
)
def test_keys_have_names(data: bytes, name: str) -> None:
    assert keys(data) == [Key(name)]
    assert keys(*(data[i : i + 1] for i in range(len(data)))) == [Key(name)]


def test_unknown_sequences_are_swallowed_whole() -> None:
    assert keys(b"a\x1b[15~b\x1bxc\x02\x19") == [
        Key("text", "a"), Key("text", "b"), Key("text", "c"), Key("left"),
    ]  # fmt: skip
    assert keys(b"\x1b[" + b"1;" * 40, b"ok")[-1] == Key("text", "ok")


def test_text_may_be_cut_in_the_middle_of_a_character() -> None:
    text = "grüß 🙂"
    data = text.encode()
    cut = [data[i : i + 1] for i in range(len(data))]
    assert "".join(key.text for key in keys(*cut)) == text
    assert keys(b"\xff") == [Key("text", "\ufffd")]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_paste_is_one_piece_wherever_it_is_cut(cut: int) -> None:
    data = b"\x1b[200~one\r\ntwo\nthree\x1b[201~\r"
    assert keys(data[:cut], data[cut:]) == [Key("paste", "one\ntwo\nthree"), Key("enter")]


def test_a_paste_cannot_carry_control_characters() -> None:
    (key,) = keys(b"\x1b[200~rm\x1b[2J\x07\x9b\x00 ok\tx\x1b[201~")
    assert key == Key("paste", "rm[2J\ufffd ok\tx")


def test_a_paste_is_bounded() -> None:
    (key,) = keys(b"\x1b[200~", *[b"x" * 65536] * 8, b"\x1b[201~")
    assert len(key.text) == MAX_PASTE_BYTES


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_give_clean_text(pieces: list[bytes]) -> None:
    for key in keys(*pieces):
        assert clean_text(key.text) == key.text
        assert "\x1b" not in key.text
