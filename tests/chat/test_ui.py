"""What `wtp chat` says beside the messages."""

from __future__ import annotations

from typing import Any

from wtp.ui.chat import announce, summary

SNAPSHOT: dict[str, Any] = {
    "session": {"track": {"offered": 3, "delivered": 2, "dropped": {"not-text": 1}}},
    "read": {"objects": 1},
}


def test_who_talks_where() -> None:
    info = {"name": "a\x1b[2J", "room": "r", "url": "https://h/wt"}
    assert announce(info) == "Chatting as a?[2J in room r at https://h/wt."


def test_every_own_line_is_accounted_for() -> None:
    assert summary(SNAPSHOT) == "3 lines sent, 2 receipted, dropped 1 (not-text 1), 1 message read."
    nothing = {"session": {}, "read": {"objects": 0}}
    assert summary(nothing) == "0 lines sent, 0 receipted, 0 messages read."
