"""The parts of the WebSocket API that do no I/O."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.broker.embedded.answers import Deliver, SendReceipt
from wtp.broker.embedded.commands import Ack, Flow, KeyValue, MessageIdData, Send
from wtp.broker.embedded.frames import blob_of
from wtp.broker.embedded.metadata import Metadata, read_metadata
from wtp.broker.embedded.wschunks import MAX_OPEN, Chunks
from wtp.broker.embedded.wscodecs import Codec, unpack
from wtp.broker.embedded.wsfast import (
    Head,
    ack_body,
    encode_id,
    encode_metadata,
    flow_body,
    read_head,
    read_three,
    send_body,
)
from wtp.broker.embedded.wsmessages import (
    NotTaken,
    read_message_id,
    read_send,
    read_time,
    time_text,
)
from wtp.broker.embedded.wsowed import Owed, OwedEntries
from wtp.broker.embedded.wsproducer import java_hash
from wtp.broker.embedded.wsroutes import own_origin
from wtp.broker.websocketids import position, start_id
from wtp.broker.websocketline import api_url
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerError, WireError


@given(st.binary(max_size=300), st.sampled_from(list(Codec)), st.integers(0, 400))
def test_garbage_is_never_unpacked_beyond_its_size(data: bytes, codec: Codec, size: int) -> None:
    try:
        found = unpack(data, codec, size)
    except WireError:
        return
    assert codec is Codec.NONE or len(found) == size


def test_known_packed_payloads() -> None:
    text = b"wtp " * 20
    assert unpack(zlib.compress(text), Codec.ZLIB, len(text)) == text
    # LZ4: 4 literals, then a match of 76 at offset 4 that overlaps itself.
    assert unpack(b"\x4f" + text[:4] + b"\x04\x00" + bytes([76 - 4 - 15]), 1, 80) == text
    # Snappy: size 80, 4 literals, then copies of 64 and 12 bytes at offset 4.
    packed = b"\x50\x0c" + text[:4] + b"\xfe\x04\x00" + bytes([11 << 2 | 2]) + b"\x04\x00"
    assert unpack(packed, Codec.SNAPPY, 80) == text


def test_zstd_is_refused_with_a_sentence() -> None:
    with pytest.raises(WireError, match="ZSTD"):
        unpack(b"x", Codec.ZSTD, 1)


@pytest.mark.parametrize(
    ("key", "value"),
    [("", 0), ("a", 97), ("k0", 3365), ("hello", 99162322), ("\U0001f600", 1772899)],
)
def test_keys_are_hashed_as_java_does(key: str, value: int) -> None:
    assert java_hash(key) == value


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_700_000_000_440, "2023-11-14T22:13:20.44Z"),
     (1_700_000_000_001, "2023-11-14T22:13:20.001Z")],
)  # fmt: skip
def test_times(ms: int, text: str) -> None:
    assert time_text(ms) == text
    assert read_time(text) == ms


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(-1, 100))
def test_message_ids(ledger: int, entry: int, batch: int) -> None:
    text = encode_id(ledger, entry, -1, batch, 100 if batch >= 0 else 0)
    found = read_message_id(text)
    assert (found.ledger, found.entry) == (ledger, entry)
    assert position(text) == f"{ledger}:{entry}" + (f":{batch}" if batch >= 0 else "")


@pytest.mark.parametrize(
    ("start", "inclusive", "place"),
    [("5:7", False, (5, 7, None)), ("5:7", True, (5, 6, None)), ("5:0", True, (5, 2**64 - 1, None)),
     ("5:7:2", True, (5, 7, 1)), ("5:7:0", True, (5, 6, None)), ("5:7:2", False, (5, 7, 2))],
)  # fmt: skip
def test_where_a_reader_begins(
    start: str, inclusive: bool, place: tuple[int, int, int | None]
) -> None:
    found = read_message_id(start_id(start, inclusive=inclusive))
    assert (found.ledger, found.entry, found.batch_index) == place


def test_a_place_that_is_none() -> None:
    assert start_id("earliest", inclusive=True) == "earliest"
    with pytest.raises(BrokerError):
        start_id("x", inclusive=True)


@given(st.text(max_size=60))
def test_any_text_is_taken_or_answered(text: str) -> None:
    number = 0
    try:
        read_send(text)
    except NotTaken as error:
        number = error.number
    assert number in (0, 3, 7)


@pytest.mark.parametrize("text", ['{"payload": "aGk=", "key": "\\ud800"}', "[" * 100_000])
def test_evil_texts_are_answered(text: str) -> None:
    with pytest.raises(NotTaken):
        read_send(text)


def test_a_batch_is_acknowledged_once_all_of_it_is() -> None:
    owed = OwedEntries(0, 1.0)
    place = MessageIdData(1, 2)
    owed.add(Owed((0, 1, 2), [place], {0, 1, 2}), 0.0)
    for index in (0, 0, 2):
        at = MessageIdData(1, 2, None, index, [], 3)
        freed, done = owed.ack(0, at)
        assert not done
    assert freed == 1
    assert owed.ack(0, MessageIdData(1, 2, None, 1, [], 3)) == (1, [place])
    assert len(owed) == 0


def test_what_was_refused_comes_again_unless_it_is_acknowledged() -> None:
    owed = OwedEntries(5.0, 1.0)
    for entry in range(3):
        owed.add(Owed((0, 1, entry), [MessageIdData(1, entry)], {-1}), 0.0)
    assert [owed.nack(0, MessageIdData(1, entry), 0.0) for entry in (0, 1, 1)] == [1, 1, 0]
    owed.ack(0, MessageIdData(1, 1))
    assert owed.next_s() == 1.0
    assert [one.key for one in owed.due(1.0)] == [(0, 1, 0)]
    assert {one.key for one in owed.due(5.0)} == {(0, 1, 0), (0, 1, 2)}
    assert owed.next_s() is None


def test_an_acknowledgement_of_another_socket_counts() -> None:
    owed = OwedEntries(0, 1.0)
    assert owed.ack(0, MessageIdData(1, 2)) == (0, [MessageIdData(1, 2)])
    assert owed.ack(0, MessageIdData(1, 3, None, 0, [], 2)) == (0, [])
    assert owed.ack(0, MessageIdData(1, 3, None, 1, [], 2)) == (0, [MessageIdData(1, 3)])
    assert owed.ack(0, MessageIdData(1, 4, None, 0, [], 2**31)) == (0, [])


def test_chunks() -> None:
    chunks = Chunks()
    for number in range(3):
        meta = Head(uuid="u", num_chunks=3, chunk_id=number)
        whole = chunks.add(meta, b"%d" % number, MessageIdData(1, number))
    assert whole is not None
    assert (whole.payload, len(whole.places)) == (b"012", 3)
    for other in range(MAX_OPEN + 1):
        chunks.add(Head(uuid=str(other), num_chunks=2, chunk_id=0), b"a", MessageIdData(1, 9))
    lost = Head(uuid="0", num_chunks=2, chunk_id=1)
    assert chunks.add(lost, b"b", MessageIdData(1, 10)) is None
    kept = Head(uuid="1", num_chunks=2, chunk_id=1)
    assert chunks.add(kept, b"b", MessageIdData(1, 10)) is not None


@pytest.mark.parametrize(
    ("origin", "own"),
    [(None, True), ("file://", True), ("http://localhost:3000", True), ("http://[::1]:1", True),
     ("http://127.0.0.1:8080", True), ("http://10.0.0.5:8080", True), ("null", False),
     ("http://evil.example", False), ("http://10.0.0.6:8080", False), ("http://[", False)],
)  # fmt: skip
def test_pages_of_other_hosts(origin: str | None, own: bool) -> None:
    assert own_origin(origin, "10.0.0.5:8080") is own


@pytest.mark.parametrize(
    ("admin", "websocket", "url"),
    [("http://a:8080", "", "ws://a:8080/ws/v2"), ("https://a:1/", "", "wss://a:1/ws/v2"),
     ("http://a:1,b:2", "", "ws://a:1,b:2/ws/v2"), ("x", "ws://c:9", "ws://c:9/ws/v2"),
     ("x", "wss://c/pulsar/ws/v2", "wss://c/pulsar/ws/v2")],
)  # fmt: skip
def test_where_the_api_is(admin: str, websocket: str, url: str) -> None:
    assert api_url(BrokerSettings(admin=admin, websocket=websocket)) == url


@given(
    st.integers(-1, 2**63 - 1), st.integers(0, 2**63 - 1),
    st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4),
    st.none() | st.text(max_size=9), st.integers(0, 2**63 - 1), st.binary(max_size=20),
)  # fmt: skip
def test_metadata_is_coded_as_declared(
    sequence: int, ms: int, pairs: dict[str, str], key: str | None, event_ms: int, payload: bytes
) -> None:
    raw = encode_metadata("me", sequence, ms, pairs, key=key, event_ms=event_ms, packed=(2, 9))
    declared = Metadata(
        "me", sequence, ms, [KeyValue(k, v) for k, v in pairs.items()], key, 2, 9,
        event_ms=event_ms or None,
    )  # fmt: skip
    blob = blob_of(raw, payload)
    assert read_metadata(blob) == Metadata.decode(declared.encode())
    head, rest = read_head(blob_of(declared.encode(), payload))
    assert rest == payload
    assert (head.publish_ms, head.properties, head.partition_key) == (ms, pairs, key)
    assert (head.compression, head.uncompressed_size, head.event_ms) == (2, 9, event_ms)
    assert head.num_messages is None


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 1000))
def test_commands_are_coded_as_declared(ledger: int, entry: int, number: int) -> None:
    place = MessageIdData(ledger, entry, 3, 4)
    assert Ack.decode(ack_body(7, ledger, entry)) == Ack(7, 0, [MessageIdData(ledger, entry)])
    assert Flow.decode(flow_body(7, number)) == Flow(7, number)
    assert Send.decode(send_body(7, number)) == Send(7, number)
    expected = (7, number, ledger, entry)
    assert read_three(SendReceipt(7, number, place, 2**64 - 1).encode()) == expected
    assert read_three(Deliver(7, place, number).encode()) == expected


@given(st.binary(max_size=60))
def test_garbage_is_no_metadata(raw: bytes) -> None:
    try:
        read_head(raw)
    except WireError:
        return
