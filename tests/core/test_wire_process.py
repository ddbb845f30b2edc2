"""Requests to and answers of HTTP processors: there and back, inherited, damaged."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.errors import WireError
from wtp.model import RESERVED, Kind, Object, to_properties
from wtp.wire import process
from wtp.wire.process import Format, Parcel

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FORMATS = get_args(Format)


def parcel(payload: bytes = b"abc", **attributes: str) -> Parcel:
    obj = Object(
        Kind.CHAT,
        seq=7,
        group=7,
        key=True,
        payload=payload,
        capture_us=5,
        content_type="text/plain",
        attributes=attributes,
    )
    return Parcel("default/me/chat", to_properties(obj, "run1", "boot:1", 12), payload)


@given(
    payload=st.binary(max_size=50),
    attributes=st.dictionaries(TEXT.filter(lambda t: t not in RESERVED), TEXT, max_size=4),
    content_type=st.sampled_from(["", "text/plain", "application/json", "a/b;c=d", "ä\r\nX: y"])
    | st.just("application/octet-stream"),
    data_format=st.sampled_from(FORMATS),
)
def test_a_request_comes_back_whole(
    payload: bytes, attributes: dict[str, str], content_type: str, data_format: Format
) -> None:
    sent = parcel(payload, **attributes)
    sent = Parcel(sent.track, {**sent.properties, "content_type": content_type}, payload)
    headers, body = process.encode_one(sent, data_format)
    assert all(value.isprintable() and value.isascii() for value in headers.values())
    assert process.form_of(headers) == data_format
    assert process.decode_request(headers, body) == sent
    assert process.decode_answer(headers, body, parcel(), data_format) == [sent]
    assert sent.object().attributes == attributes


@given(count=st.integers(0, 5), data_format=st.sampled_from(FORMATS))
def test_several_objects_come_back_whole(count: int, data_format: Format) -> None:
    sent = [parcel(bytes([n]) * n, number=str(n)) for n in range(count)]
    headers, body = process.encode_several(sent, data_format)
    assert process.decode_answer(headers, body, parcel(), data_format) == sent


def test_the_names_of_headers_are_those_of_properties() -> None:
    headers, body = process.encode_one(parcel(author="me"), "binary")
    assert headers["WTP-Track"] == "default/me/chat"
    assert headers["WTP-Capture-Us"] == "5"
    assert headers["WTP-Clock-Error-Us"] == "12"
    assert headers["Content-Type"] == "text/plain"
    assert json.loads(headers["WTP-Attributes"]) == {"author": "me"}
    assert body == b"abc"


def test_a_bare_answer_inherits_everything_but_the_payload() -> None:
    sent = parcel(author="me")
    bare = process.decode_answer({"Content-Type": "application/octet-stream"}, b"x", sent, "binary")
    assert bare == [Parcel(sent.track, sent.properties, b"x")]
    text = process.decode_answer({}, b'{"text": "h\\u00e4"}', sent, "json")
    assert text == [Parcel(sent.track, sent.properties, "hä".encode())]


def test_an_answer_changes_what_it_says() -> None:
    headers = {"content-type": "image/jpeg", "wtp-kind": "video", "WTP-Attributes": '{"a":"b"}'}
    (got,) = process.decode_answer(headers, b"x", parcel(author="me"), "binary")
    assert got.properties["kind"] == "video"
    assert got.properties["content_type"] == "image/jpeg"
    assert got.attributes == {"a": "b"}
    assert got.properties["seq"] == "7"


def test_json_for_people_holds_the_text() -> None:
    _, body = process.encode_one(parcel("hä".encode()), "json")
    found = json.loads(body)
    assert found["text"] == "hä"
    assert base64.b64decode(found["payload"]) == "hä".encode()


def test_a_request_in_no_form_is_refused() -> None:
    with pytest.raises(WireError) as caught:
        process.decode_request({"Content-Type": "image/png"}, b"")
    assert caught.value.code == "media-type"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"payload": 3}', b'{"payload": "%%"}', b'{"text": "\\ud800"}', b"\xff",
     b'{"objects": 3}', b'{"objects": [3]}', b'{"track": 3, "text": ""}', b'{"text": 1}',
     b'{"properties": {"a": 1}, "text": ""}', b'{"properties": {"a": "\\ud800"}, "text": ""}',
     b'{"objects": [' + b",".join([b"{}"] * 257) + b"]}", b"[" * 100_000],
)  # fmt: skip
def test_damaged_json_is_a_wire_error(body: bytes) -> None:
    with pytest.raises(WireError):
        process.decode_answer({"Content-Type": "application/json"}, body, parcel(), "json")


@pytest.mark.parametrize(
    "body",
    [b"\0", b"\0\0\0\5{}", b"\0\0\0\2{}", b"\0\0\0\2{}\0\0\0\1", b"\xff\xff\xff\xff",
     b"\0\0\0\2{}\0\0\0\0" * 257],
)  # fmt: skip
def test_damaged_lists_of_objects_are_wire_errors(body: bytes) -> None:
    with pytest.raises(WireError):
        process.decode_answer({"Content-Type": process.OBJECTS_TYPE}, body, parcel(), "binary")


@given(body=st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_a_wire_error(body: bytes) -> None:
    for data_format in FORMATS:
        with contextlib.suppress(WireError):
            process.decode_answer(
                {"Content-Type": process.OBJECTS_TYPE}, body, parcel(), data_format
            )


def test_objects_outside_the_rules_are_refused() -> None:
    good = parcel()
    with pytest.raises(WireError, match="over 16384"):
        parcel(b"x" * 20_000).object()
    with pytest.raises(WireError):
        Parcel("no track", good.properties, b"").object()
    with pytest.raises(WireError):
        Parcel(good.track, {}, b"").object()


def test_errors_are_sentences_whatever_comes() -> None:
    assert process.decode_error(process.encode_error("It broke.")) == "It broke."
    assert process.decode_error(b"") == "no reason given"
    assert process.decode_error(b"<html>") == "<html>"
    assert len(process.decode_error(b"x" * 10_000)) <= 500


def test_published_counts() -> None:
    assert process.published({}) == 0
    assert process.published({"wtp-published": "3"}) == 3
    with pytest.raises(WireError):
        process.published({"WTP-Published": "many"})
