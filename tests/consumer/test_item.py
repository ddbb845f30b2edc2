from __future__ import annotations

import json

from tests.consumer.fakes import DOMAIN, foreign, item, message
from wtp.consumer.item import describe, read_place, split_track, startable
from wtp.model import Kind


def test_positions_sort_as_numbers() -> None:
    assert read_place("5:17") == (5, 17, -1)
    assert read_place("5:9") < read_place("5:17") < read_place("5:17:0") < read_place("6:0")


def test_only_inter_coded_objects_without_key_cannot_start() -> None:
    assert startable(message(key=True))
    assert not startable(message(key=False))
    assert startable(message(key=False, content_type="image/jpeg"))
    assert startable(message(key=False, content_type="application/octet-stream"))
    assert startable(foreign())


def test_tracks_fall_apart_into_publisher_and_name() -> None:
    assert split_track("room/cam/video-2") == ("cam", "video-2")
    assert split_track("whatever") == ("", "whatever")
    assert split_track("a/b/c/d") == ("", "a/b/c/d")


def test_latency_needs_both_ends() -> None:
    known = message(stamps={"capture_us": 1000})
    assert item(known, receive_us=DOMAIN.anchor_us + 4000).latency_us == 3000
    assert item(known).latency_us is None
    assert item(message(), receive_us=DOMAIN.anchor_us).latency_us is None


def test_description_says_null_for_what_is_unknown() -> None:
    values = describe(item(message(7, stamps={"capture_us": 5}, attributes={"colour": "red"})))
    assert values["seq"] == 7
    assert values["capture_us"] == DOMAIN.anchor_us + 5
    assert values["encode_us"] is None
    assert values["receive_us"] is None
    assert values["latency_us"] is None
    assert values["clock_error_us"] is None
    assert values["attributes"] == {"colour": "red"}
    assert values["size"] == 7
    assert "text" not in values
    json.dumps(values)


def test_chat_brings_its_text_along() -> None:
    chat = message(kind=Kind.CHAT, content_type="text/plain", payload="grüß\x1b[31m".encode())
    assert describe(item(chat))["text"] == "grüß\x1b[31m"


def test_foreign_and_damaged_messages_say_so() -> None:
    values = describe(item(foreign()))
    assert values["fault"] == "not-wtp"
    assert values["seq"] is None
    assert values["attributes"] == {"colour": "red"}
    damaged = message()
    damaged.properties["seq"] = "x"  # type: ignore[index]  # a dict behind the Mapping
    assert describe(item(damaged))["fault"] == "damaged"
