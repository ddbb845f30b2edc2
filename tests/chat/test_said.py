"""Own lines are shown once, whichever way they come back first."""

from __future__ import annotations

from wtp.chat.said import OwnLines, Said


class Shown:
    def __init__(self) -> None:
        self.lines: list[tuple[bytes, str]] = []

    def __call__(self, said: Said, why: str) -> None:
        self.lines.append((said.payload, why))


def test_the_receipt_comes_first() -> None:
    shown = Shown()
    own = OwnLines(shown)
    assert [own.sending(Said(text, "", 0)) for text in (b"a", b"b")] == [1, 2]
    own.receipted(1)
    assert shown.lines == [(b"a", "")]
    assert [said.payload for said in own.waiting] == [b"b"]
    assert not own.came_back(1)
    assert own.came_back(2)
    own.receipted(2)
    assert shown.lines == [(b"a", "")]
    assert own.waiting == []
    assert own.all_back


def test_a_rejected_line_is_told_with_its_reason() -> None:
    shown = Shown()
    own = OwnLines(shown)
    own.sending(Said(b"a", "", 0))
    own.rejected(1, "no room")
    own.rejected(1, "again")
    assert shown.lines == [(b"a", "no room")]
    assert own.rejections == 2
    assert own.waiting == []
    assert not own.all_back
