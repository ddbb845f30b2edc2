"""The line being typed, and how it lies on a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.chat.editor import MAX_TEXT, Editor, View, columns_of, cut, lay_out
from wtp.chat.keys import Key


def typed(*names: str) -> Editor:
    """An editor after keys; words in capitals are text."""
    editor = Editor()
    for name in names:
        editor.press(Key("text", name.lower()) if name.isupper() or " " in name else Key(name))
    return editor


@pytest.mark.parametrize(
    ("names", "text", "cursor"),
    [
        (["AB", "left", "X"], "axb", 2),
        (["AB", "home", "X", "end", "Y"], "xaby", 4),
        (["AB", "backspace"], "a", 1),
        (["backspace", "delete", "left", "right"], "", 0),
        (["AB", "home", "delete"], "b", 0),
        (["AB", "home", "eof"], "b", 0),
        (["ONE TWO", "kill-word"], "one ", 4),
        (["ONE TWO", "word-left", "word-left", "word-right"], "one two", 3),
        (["ONE TWO", "left", "kill-start"], "o", 0),
        (["ONE TWO", "word-left", "kill-end"], "one ", 4),
        (["ONE", "newline", "TWO", "home", "X"], "one\nxtwo", 5),
        (["ONE", "newline", "TWO", "kill-start"], "one\n", 4),
    ],
)
def test_keys_edit(names: list[str], text: str, cursor: int) -> None:
    editor = typed(*names)
    assert (editor.text, editor.cursor) == (text, cursor)


def test_a_combined_character_goes_in_one_step() -> None:
    editor = Editor()
    editor.press(Key("text", "ae\u0301"))
    editor.press(Key("backspace"))
    assert editor.text == "a"
    editor.press(Key("text", "e\u0301"))
    editor.press(Key("home"))
    editor.press(Key("right"))
    editor.press(Key("right"))
    assert editor.cursor == 3


def test_enter_sends_and_ctrl_d_ends_an_empty_line_only() -> None:
    editor = typed("HELLO")
    assert editor.press(Key("enter")) == "send"
    assert editor.take() == "hello"
    assert editor.text == ""
    assert editor.press(Key("eof")) == "end"


def test_earlier_lines_come_back_and_the_draft_too() -> None:
    editor = Editor()
    for line in ("one", "two", "two"):
        editor.press(Key("text", line))
        editor.take()
    editor.press(Key("text", "draft"))
    shown = []
    for name in ("up", "up", "up", "down", "down", "down"):
        editor.press(Key(name))
        shown.append(editor.text)
    assert shown == ["two", "one", "one", "two", "draft", "draft"]


def test_a_short_line_and_its_cursor() -> None:
    view = lay_out("> ", "ab", 1, columns=20, rows=5, above=("... first", "x" * 40))
    assert view == View(("... first", "x" * 19, "> ab"), 2, 3)


def test_long_lines_are_folded_and_wide_characters_counted() -> None:
    assert lay_out("> ", "abcdefgh", 8, columns=8, rows=5) == View(("> abcde", "  fgh"), 1, 5)
    assert lay_out("> ", "漢字漢字", 4, columns=8, rows=5) == View(("> 漢字", "  漢字"), 1, 6)
    assert columns_of("\u0301") == 0
    assert cut("漢字", 3) == "漢"


def test_lines_of_a_message_are_indented() -> None:
    assert lay_out("> ", "a\nb", 2, columns=20, rows=5) == View(("> a", "  b"), 1, 2)
    assert lay_out("> ", "a\n", 1, columns=20, rows=5) == View(("> a", "  "), 0, 3)


def test_what_is_typed_cannot_steer_the_terminal_either() -> None:
    view = lay_out("> ", "a\u202eb", 3, columns=40, rows=5)
    assert view == View(("> a\\u202eb",), 0, 10)


def test_a_line_is_bounded() -> None:
    editor = Editor()
    for _ in range(3):
        editor.press(Key("paste", "x" * (MAX_TEXT // 2)))
    assert len(editor.text) == editor.cursor == MAX_TEXT


def test_of_many_rows_those_at_the_cursor_are_shown() -> None:
    text = "\n".join("abcdef")
    assert lay_out("> ", text, len(text), columns=20, rows=3) == View(("  d", "  e", "  f"), 2, 3)
    assert lay_out("> ", text, 0, columns=20, rows=3) == View(("> a", "  b", "  c"), 0, 2)


@given(
    st.text(alphabet=st.sampled_from("ab \n\t漢\u0301🙂"), max_size=60),
    st.integers(0, 60),
    st.integers(4, 30),
    st.integers(1, 6),
)
def test_the_view_always_fits(text: str, cursor: int, columns: int, rows: int) -> None:
    view = lay_out("> ", text, min(cursor, len(text)), columns=columns, rows=rows)
    assert 1 <= len(view.rows) <= rows
    assert 0 <= view.row < len(view.rows)
    assert 0 <= view.column < max(columns, 6)
    for row in view.rows:
        assert sum(columns_of(one) for one in row) < max(columns, 6)
        assert "\n" not in row
        assert "\t" not in row
