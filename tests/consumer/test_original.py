"""Messages of producers that know nothing of wtp: what they look like, and how old they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.consumer.fakes import FakeMessage, foreign, item, message
from wtp.clock import monotonic_us, wall_us
from wtp.consumer.item import PUBLISH_TO_RECEIVE, Item, describe, guess_kind, guess_type, named_kind
from wtp.consumer.output import json_line
from wtp.consumer.save import Save
from wtp.consumer.stats import Statistics
from wtp.metrics import Latency

ROOM = "persistent://public/default"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"


def bare(payload: bytes, topic: str, **more: Any) -> FakeMessage:
    return replace(foreign(payload), topic=f"{ROOM}/{topic}", properties={}, **more)


@pytest.mark.parametrize(
    ("payload", "topic", "content_type", "kind"),
    [
        (JPEG, "video-topic", "image/jpeg", "video"),
        (JPEG, "anything", "image/jpeg", "video"),
        (b"\0\0\0\1\x67", "video-topic", "video/h264", "video"),
        (b"\0\0\1\x65", "screen", "video/h264", "screen"),
        ("grüße\r\n".encode(), "chat-topic", "text/plain", "chat"),
        (b'{"text": "hi"}', "chat-topic", "application/json", "chat"),
        (b" [1, 2]", "x", "application/json", "chat"),
        (b"{no json", "x", "text/plain", "chat"),
        (b"[" * 60_000, "x", "text/plain", "chat"),
        (b"plain", "audio-topic", "application/octet-stream", "audio"),
        (b"plain", "video-topic-partition-3", "application/octet-stream", "video"),
        (b"", "chat-topic", "application/octet-stream", "chat"),
        (b"esc \x1b[31m", "x", "application/octet-stream", ""),
        (b"\xff\xfe", "x", "application/octet-stream", ""),
        (b"a" * 70_000, "x", "application/octet-stream", ""),
    ],
)
def test_a_bare_payload_is_told_by_its_looks(
    payload: bytes, topic: str, content_type: str, kind: str
) -> None:
    assert guess_type(payload, topic) == content_type
    assert guess_kind(content_type, topic) == kind


def test_kinds_in_names() -> None:
    assert named_kind(f"{ROOM}/video") == "video"
    assert named_kind(f"{ROOM}/data-topic") == "data"
    assert named_kind(f"{ROOM}/my-video") is None


def arrived(after_ms: float, *, live: bool = True) -> Item:
    """A bare message that took so long by the wall clock."""
    at_us = monotonic_us()
    published_us = wall_us() // 1000 * 1000
    came = bare(b"hi", "chat-topic", publish_ms=published_us // 1000, receive_monotonic_us=at_us)
    anchor_us = published_us + round(after_ms * 1000) - at_us
    return replace(item(came, live=live), wall_anchor_us=anchor_us)


def test_the_way_from_the_broker_is_labelled_and_is_no_latency() -> None:
    values = json.loads(json_line(arrived(7.0)))
    assert values[PUBLISH_TO_RECEIVE] == 7.0
    assert values["latency_us"] is None
    assert (values["kind"], values["content_type"], values["guessed"]) == (
        "chat",
        "text/plain",
        True,
    )
    assert values["text"] == "hi"
    stats = Statistics()
    for after_ms in (7.0, 7.0, 9.0):
        stats.add(arrived(after_ms))
    latency = stats.snapshot(monotonic_us())["latency"]
    assert latency["hops"][PUBLISH_TO_RECEIVE]["n"] == 3
    assert latency["hops"][PUBLISH_TO_RECEIVE]["max_ms"] == 9.0
    assert (latency["total"]["n"], latency["unknown"]) == (0, 3)
    stats.reset_latency()
    assert PUBLISH_TO_RECEIVE not in stats.snapshot(monotonic_us())["latency"]["hops"]


def test_it_is_unknown_for_the_past_and_absent_for_ours() -> None:
    past = arrived(7.0, live=False)
    assert describe(past)[PUBLISH_TO_RECEIVE] is None
    stats = Statistics()
    stats.add(past)
    assert PUBLISH_TO_RECEIVE not in stats.snapshot(monotonic_us())["latency"]["hops"]
    ours = describe(item(message(publish_ms=5)))
    assert PUBLISH_TO_RECEIVE not in ours
    assert "guessed" not in ours
    assert item(bare(b"hi", "x")).publish_to_receive_us is None  # no publish time


def test_a_clock_behind_the_broker_counts_as_zero() -> None:
    way = Latency()
    way.add(arrived(-3.0).publish_to_receive_us or 0)
    assert (way.negative, way.max_us) == (1, 0)


def test_everything_is_saved_byte_for_byte(tmp_path: Path) -> None:
    came = {
        "video-topic": [JPEG + bytes([n]) for n in range(3)],
        "screen-topic": [b"\0\0\0\1\x65" + bytes([n]) for n in range(3)],
        "audio-topic": [b"x", b"\x00\x01", b"{}"],
        "chat-topic": [b"one", "zwei ü".encode()],
    }
    for topic, payloads in came.items():
        save = Save(tmp_path / topic)
        save.open()
        items = [item(bare(payload, topic)) for payload in payloads]
        assert save.take(items) == [""] * len(items)
        save.close()
    assert (tmp_path / "video-topic/unnamed.bin").read_bytes() == b"".join(came["video-topic"])
    assert (tmp_path / "screen-topic/unnamed.h264").read_bytes() == b"".join(came["screen-topic"])
    assert (tmp_path / "audio-topic/unnamed.bin").read_bytes() == b"".join(came["audio-topic"])
    assert (tmp_path / "chat-topic/unnamed.txt").read_text("utf-8") == "one\nzwei ü\n"
    index = (tmp_path / "video-topic/unnamed.bin.index.jsonl").read_text("utf-8").splitlines()
    assert [(json.loads(line)["offset"], json.loads(line)["size"]) for line in index] == [
        (12 * n, 12) for n in range(3)
    ]
