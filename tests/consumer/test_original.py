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
from wtp.model import Kind
from wtp.processor.recorded import read_recorded

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


def saved(folder: Path, items: list[Item]) -> dict[str, bytes]:
    """What lies in the folder when they have been saved."""
    save = Save(folder)
    save.open()
    try:
        assert save.take(items) == [""] * len(items)
    finally:
        save.close()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_everything_is_saved_byte_for_byte(tmp_path: Path) -> None:
    came = {
        "screen-topic": [b"\0\0\1\x67\0\0\1\x65", b"\0\0\0\1\x41\1", b"\0\0\0\1\x41\2"],
        "audio-topic": [b"x", b"\x00\x01", b"{}"],
        "chat-topic": [b"one", "zwei ü".encode(), b'{"text": 3}'],
        "data-topic": [b'{\n"a": 1}', b"[\t]"],
    }
    found = saved(
        tmp_path / "all",
        [item(bare(payload, topic)) for topic, all_ in came.items() for payload in all_],
    )
    assert found.keys() == {
        "screen-topic.h264", "screen-topic.h264.index.jsonl", "audio-topic.bin",
        "audio-topic.bin.index.jsonl", "chat-topic.txt", "data-topic.bin",
        "data-topic.bin.index.jsonl",
    }  # fmt: skip
    assert found["screen-topic.h264"] == b"".join(came["screen-topic"])
    assert found["audio-topic.bin"] == b"".join(came["audio-topic"])
    assert found["data-topic.bin"] == b"".join(came["data-topic"])
    assert found["chat-topic.txt"].decode() == 'one\nzwei ü\n{"text": 3}\n'
    lines = [json.loads(line) for line in found["screen-topic.h264.index.jsonl"].splitlines()]
    assert [(line["offset"], line["size"]) for line in lines] == [(0, 8), (8, 6), (14, 6)]
    assert {line["content_type"] for line in lines} == {"video/h264"}
    assert [line["key"] for line in lines] == [True, False, False]


def test_pictures_are_numbered_files_under_the_name_of_their_topic(tmp_path: Path) -> None:
    came = [JPEG + bytes([n]) for n in range(4)]
    parts = [f"video-topic-partition-{n}" for n in (0, 1, 0, 1)]
    times = [1_700_000_000_000, 1_700_000_000_000, 1_700_000_000_033, 0]
    found = saved(
        tmp_path / "bare",
        [
            item(bare(payload, topic, publish_ms=at_ms))
            for payload, topic, at_ms in zip(came, parts, times, strict=True)
        ],
    )
    assert found == {
        "video-topic-1700000000000000-00000001.jpg": came[0],
        "video-topic-1700000000000000-00000002.jpg": came[1],
        "video-topic-1700000000033000-00000003.jpg": came[2],
        "video-topic-0000000000000000-00000004.jpg": came[3],
    }


def test_keys_and_our_own_tracks_keep_names_apart(tmp_path: Path) -> None:
    ours = item(message(1, content_type="image/jpeg", payload=b"ours", track="default/a/b"))
    items = [
        item(replace(bare(JPEG, "video-topic"), key="a-b")),
        item(replace(bare(JPEG + b"2", "video-topic"), key="a b")),
        ours,
        item(bare(b"\0\0\1\x65", "video-topic")),
        item(bare(b"?", "video-topic")),
    ]
    found = saved(tmp_path / "mixed", items)
    assert {name: data for name, data in found.items() if "index" not in name} == {
        "a-b-0000000000000000-00000001.jpg": JPEG,
        "a-b-2-0000000000000000-00000001.jpg": JPEG + b"2",
        "a-b-3-0000000000000000-00000001.jpg": b"ours",
        "video-topic.h264": b"\0\0\1\x65",
        "video-topic.bin": b"?",
    }


def test_a_recording_of_pictures_can_be_put_through_a_processor(tmp_path: Path) -> None:
    came = [JPEG + bytes([n]) for n in range(3)]
    saved(tmp_path, [item(bare(one, "video-topic", publish_ms=9)) for one in came])
    recorded = read_recorded(tmp_path, Kind.VIDEO)
    assert [one.payload for one in recorded] == came
    assert [one.properties["seq"] for one in recorded] == ["1", "2", "3"]
