"""wtp.wire.control: messages survive any split; whatever else comes is one WireError."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.strategies import (
    MESSAGES,
    damaged,
    json_values,
    messages,
    read_all,
    read_damaged,
    splits,
    vectors,
)
from wtp.errors import WireError
from wtp.wire import control
from wtp.wire.control import MAX_BYTES, ControlParser, decode, encode

BY_NAME = {cls.__name__.lower(): cls for cls in MESSAGES}


@pytest.mark.parametrize("row", vectors("control"), ids=lambda row: row["name"])
def test_vectors(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["bytes"])
    got = read_all(ControlParser().feed, [data])
    if row["fields"] is None:
        assert got == []
        return
    message: Any = BY_NAME[row["type"]](**row["fields"])
    assert got == [message]
    assert read_all(ControlParser().feed, [encode(message)]) == [message]


@pytest.mark.parametrize(
    "row", [r for r in vectors("damaged") if r["parser"] == "control"], ids=lambda row: row["name"]
)
def test_damaged_vectors_are_refused(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["bytes"])
    assert read_damaged(ControlParser().feed, [data]) == ([], row["code"])


def test_every_message_has_a_vector() -> None:
    assert {row["type"] for row in vectors("control")} - {"subscribe"} == set(BY_NAME)


@given(st.lists(messages, max_size=5), st.data())
def test_any_split_gives_the_same_messages(
    sent: list[control.Message], data: st.DataObject
) -> None:
    pieces = data.draw(splits(b"".join(map(encode, sent))))
    assert read_all(ControlParser().feed, pieces) == sent


@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_damage_gives_messages_and_at_most_one_error(
    sent: list[control.Message], data: st.DataObject
) -> None:
    stream = data.draw(damaged(b"".join(map(encode, sent))))
    whole = read_damaged(ControlParser().feed, [stream])
    assert read_damaged(ControlParser().feed, data.draw(splits(stream))) == whole


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    read_damaged(ControlParser().feed, [data])
    read_damaged(lambda text: iter([decode(text)]), [data])


@given(
    st.sampled_from(sorted(BY_NAME)),
    st.dictionaries(
        st.sampled_from(sorted({f for cls in MESSAGES for f in cls.__dataclass_fields__})),
        json_values,
    ),
    st.booleans(),
)
def test_fields_of_any_type_give_a_message_that_can_be_sent_or_one_error(
    name: str, body: dict[str, Any], escaped: bool
) -> None:
    text = json.dumps({**body, "type": name}, ensure_ascii=escaped)
    values, code = read_damaged(
        lambda data: iter([decode(data)]), [text.encode(errors="surrogatepass")]
    )
    assert code in (None, "control")
    for message in values:
        assert message is not None
        assert read_all(ControlParser().feed, [encode(message)]) == [message]


def test_the_size_limit_is_exact() -> None:
    room = MAX_BYTES - len('{"type":"drain","reason":""}')
    message = control.Drain("x" * room)
    assert read_all(ControlParser().feed, [encode(message)]) == [message]
    with pytest.raises(WireError) as caught:
        encode(control.Drain("x" * (room + 1)))
    assert caught.value.code == "too-large"


def test_text_that_is_not_unicode_cannot_be_sent() -> None:
    with pytest.raises(WireError):
        encode(control.Drain("\udcff"))


def test_an_oversized_length_is_refused_before_its_bytes_come() -> None:
    assert read_damaged(ControlParser().feed, [b"\x00\x01\x00\x00"]) == ([], "too-large")


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"ping","t0_us":' + b"9" * 5000 + b"}",
        b'{"type":"ping","t0_us":1e999}',
        b'{"type":"ping","t0_us":NaN}',
        b'{"a":' * 3000,
        b'{"type":"ping","t0_us":[' + b"[" * 2000 + b"]" * 2000 + b"]}",
        '{"type":"ping","t0_us":1}'.encode("utf-16"),
        '{"type":"ping","t0_us":1}'.encode("utf-8-sig"),
    ],
)
def test_hostile_json_is_one_error(text: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode(text)
    assert caught.value.code == "control"


def test_largest_messages_are_read_quickly() -> None:
    """The worst a peer can make of 16 KiB costs milliseconds, not seconds."""
    texts = [
        json.dumps({"type": "drain", "reason": "é" * 8000}, ensure_ascii=False),
        json.dumps({"type": "drain", "reason": "\u00e9" * 2700}),
        json.dumps({"type": "stats", "tracks": {str(n): {} for n in range(1400)}}),
        json.dumps({"type": "flush", "sent": {str(n): 0 for n in range(1300)}}),
    ]
    start = time.process_time()
    for text in texts * 10:
        assert len(text.encode()) <= MAX_BYTES
        assert decode(text.encode()) is not None
    assert time.process_time() - start < 5.0
