"""Chat messages as people read them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.consumer.fakes import DOMAIN, foreign, item, message
from wtp.clock import wall_us
from wtp.consumer.chat import chat_line, local_time
from wtp.consumer.item import Item
from wtp.model import Kind

NOON_US = 1_700_000_000_000_000
"""2023-11-14 22:13:20 UTC."""


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
    assert os.environ.get("TZ") != "Europe/Berlin"


def chat(
    text: bytes,
    author: str = "ann",
    *,
    at_us: int | None = None,
    publish_ms: int = 0,
    style: str = "",
) -> Item:
    attributes = {"author": author, "style": style}
    return item(
        message(
            kind=Kind.CHAT, content_type="text/plain", payload=text, track="default/bob/chat",
            attributes={name: value for name, value in attributes.items() if value},
            stamps={} if at_us is None else {"capture_us": at_us - DOMAIN.anchor_us},
            publish_ms=publish_ms,
        )
    )  # fmt: skip


def test_chat_lines_name_the_author_or_the_publisher() -> None:
    assert chat_line(chat(b"hello\n")) == "ann: hello"
    assert chat_line(chat(b"hello", author="")) == "bob: hello"
    assert chat_line(item(foreign(b"hello"))) == "unknown: hello"


def test_chat_lines_say_when_in_local_time() -> None:
    assert chat_line(chat(b"hello", at_us=NOON_US)) == "2023-11-14 23:13:20 ann: hello"
    assert chat_line(chat(b"x", publish_ms=NOON_US // 1000)) == "2023-11-14 23:13:20 ann: x"
    day, clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(wall_us() // 1_000_000)).split()
    assert local_time(wall_us()).removeprefix(day).strip()[:5] >= clock


@pytest.mark.parametrize("at_us", [2**62, -(2**62)])
def test_a_stamp_out_of_this_world_is_left_out(at_us: int) -> None:
    assert chat_line(chat(b"hello", at_us=at_us)) == "ann: hello"


def test_the_lines_of_one_message_stay_together() -> None:
    text = b"first\r\nbob: hello\n\tcode\n\n"
    assert chat_line(chat(text)) == "ann: first\n    bob: hello\n        code"


def test_what_somebody_does() -> None:
    assert chat_line(chat(b"waves", style="action")) == "* ann waves"
    assert chat_line(chat(b"waves", style="\x1b[2J")) == "ann: waves"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"plain", "plain"),
        ("grüß 🙂".encode(), "grüß 🙂"),
        (b"\x1b[2Jgone\x07", "\\x1b[2Jgone\\x07"),
        (b"one\rtwo\r", "one\\rtwo"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        ("\x9b31m".encode(), "\\x9b31m"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("a\u2028b".encode(), "a\\u2028b"),
    ],
)
def test_chat_cannot_steer_the_terminal(text: bytes, shown: str) -> None:
    assert chat_line(chat(text)) == f"ann: {shown}"
    assert chat_line(chat(b"x", author=text.decode(errors="replace"))).isprintable()
