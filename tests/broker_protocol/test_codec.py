"""Frames, commands and metadata: any split, any damage, hand-tuned against declared."""

from __future__ import annotations

import struct
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.broker.embedded import answers, commands
from wtp.broker.embedded.answers import Deliver, SendReceipt
from wtp.broker.embedded.commands import Ack, Connect, Flow, MessageIdData, Schema, Send, Subscribe
from wtp.broker.embedded.frames import (
    MAX_MESSAGE_BYTES,
    READ_BYTES,
    FrameParser,
    blob_of,
    checksum_ok,
    command,
    frame,
    split_command,
)
from wtp.broker.embedded.hotpath import delivery_head, read_ack, read_flow, read_send, receipt
from wtp.broker.embedded.metadata import (
    Metadata,
    key_slot,
    murmur3,
    payload_of,
    publish_time,
    read_metadata,
)
from wtp.broker.embedded.numbers import NO_ID, Cmd
from wtp.broker.embedded.protobuf import Message, pb, read_varint, varint
from wtp.errors import WireError

u64 = st.integers(0, NO_ID)
i64 = st.integers(-(2**63), 2**63 - 1)
frames = st.lists(
    st.tuples(st.integers(2, 90), st.binary(max_size=200), st.binary(max_size=300)), max_size=8
)


@given(u64)
def test_varint_round_trip(value: int) -> None:
    assert read_varint(varint(value) + b"rest", 0) == (value, len(varint(value)))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 10 + b"\x01", b"\xff" * 9 + b"\x02"])
def test_broken_varint(data: bytes) -> None:
    with pytest.raises(WireError):
        read_varint(data, 0)


@given(frames, st.lists(st.integers(1, 60), max_size=40))
def test_any_split_gives_the_same_frames(
    wanted: list[tuple[int, bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(frame(*one) for one in wanted)
    parser, found, at = FrameParser(), [], 0
    for cut in [*cuts, len(stream)]:
        found += parser.feed(stream[at : at + cut])
        at += cut
    assert found == wanted
    assert parser.error is None
    assert parser.buffered_bytes == 0


def test_frames_larger_than_the_buffer() -> None:
    parser = FrameParser()
    big = bytes(MAX_MESSAGE_BYTES)
    stream = frame(6, b"a" * 10, b"x") + frame(6, b"b" * 300, big) + frame(6, b"c" * 10, b"z")
    found = parser.feed(stream[:5]) + parser.feed(stream[5 : 2 * READ_BYTES])
    found += parser.feed(stream[2 * READ_BYTES :])
    assert [(k, b[:1], len(d)) for k, b, d in found] == [
        (6, b"a", 1),
        (6, b"b", len(big)),
        (6, b"c", 1),
    ]
    parser.shrink()
    assert len(parser.get_buffer()) == READ_BYTES


@pytest.mark.parametrize(
    "damage",
    [
        b"GET / HTTP/1.1\r\n",
        struct.pack(">II", MAX_MESSAGE_BYTES * 2, 4),
        struct.pack(">II", 8, 99) + b"1234",
        struct.pack(">II", 2, 1) + b"1",
        struct.pack(">II", 8, 4) + b"\x08\x06\x32\x09",
        struct.pack(">II", 8, 4) + b"\xff\xff\xff\xff",
    ],
)
def test_damage_gives_one_error_after_the_whole_frames(damage: bytes) -> None:
    good = frame(18, b"") + frame(11, b"\x08\x01\x10\x01")
    whole, bytewise = FrameParser(), FrameParser()
    found = whole.feed(good + damage)
    for at in range(len(good + damage)):
        bytewise.feed((good + damage)[at : at + 1])
    assert [kind for kind, _, _ in found] == [18, 11]
    for parser in (whole, bytewise):
        assert isinstance(parser.error, WireError)
        assert parser.error.hint
        assert parser.feed(good) == []


@given(st.binary(max_size=400))
def test_garbage_never_escapes(data: bytes) -> None:
    parser = FrameParser()
    parser.feed(data)
    for read in (split_command, Subscribe.decode, Ack.decode, read_ack, read_send, read_flow):
        try:
            read(data)
        except WireError:
            continue
    for look in (read_metadata, publish_time, payload_of):
        try:
            look(data)
        except WireError:
            continue


def test_command_in_unusual_form() -> None:
    body = b"\x08\x01\x10\x05"
    unusual = b"\x5a\x04" + body + b"\x08\x0b" + b"\xa2\x06\x00"
    assert split_command(unusual) == (11, body)
    with pytest.raises(WireError):
        split_command(b"\x08\x0b")


def declared() -> list[type[Message]]:
    return [
        thing
        for module in (commands, answers)
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Message) and thing is not Message
    ]


def values(kind: type[Message]) -> st.SearchStrategy[Message]:
    def one(
        metadata: tuple[int, str, bool, bool, type[Message] | None],
    ) -> st.SearchStrategy[object]:
        _, name, many, required, message = metadata
        simple: dict[str, st.SearchStrategy[object]] = {
            "uint": u64,
            "int": i64,
            "bool": st.booleans(),
            "string": st.text(max_size=20),
            "bytes": st.binary(max_size=20),
            "double": st.floats(allow_nan=False),
        }
        item = simple[name] if message is None else values(message)
        if many:
            return st.lists(item, max_size=3)
        return item if required else item | st.none()

    return st.builds(kind, **{f.name: one(f.metadata["pb"]) for f in fields(kind)})


@given(st.sampled_from(declared()).flatmap(values))
def test_every_declared_message_comes_back(message: Message) -> None:
    back = type(message).decode(message.encode())
    for f in fields(message):
        sent = getattr(message, f.name)
        if sent is not None:
            assert getattr(back, f.name) == sent, f.name


def test_required_fields_nesting_and_text() -> None:
    with pytest.raises(WireError, match="missing"):
        Connect.decode(b"")
    with pytest.raises(WireError, match="UTF-8"):
        Connect.decode(b"\x0a\x01\xff")
    with pytest.raises(WireError, match="cut off"):
        Connect.decode(b"\x0a\x05ab")
    with pytest.raises(WireError, match="wire type"):
        Connect.decode(b"\x0b")
    assert Flow.decode(b"\x08\x01\x10\x02\x1a\x01x\x21abcdefgh\x2dabcd") == Flow(1, 2)


def test_packed_ack_set() -> None:
    packed = b"\x08\x05\x10\x06" + b"\x2a\x03\x01\x02\x03"
    assert MessageIdData.decode(packed) == MessageIdData(5, 6, ack_set=[1, 2, 3])


@given(u64, u64, st.integers(0, 2**31 - 1), u64 | st.none(), st.booleans(), st.booleans())
def test_hand_tuned_send(
    producer: int, sequence: int, count: int, highest: int | None, chunk: bool, txn: bool
) -> None:
    send = Send(producer, sequence, count, txn_least=5 if txn else None, txn_most=None)
    send.highest_sequence_id = highest
    send.is_chunk = chunk
    head = read_send(send.encode())
    known = -1 if highest is None else highest
    assert head == (producer, sequence, count, known, chunk, txn)


@given(u64, u64, st.integers(-1, NO_ID - 1), st.integers(-1, 2**63), st.integers(0, 2**63))
def test_hand_tuned_receipt(
    producer: int, sequence: int, highest: int, ledger: int, entry: int
) -> None:
    place = MessageIdData(ledger, entry) if ledger >= 0 else MessageIdData(NO_ID, NO_ID)
    declared = SendReceipt(producer, sequence, place, highest & NO_ID)
    position = None if ledger < 0 else (ledger, entry)
    data = receipt(producer, sequence, highest, position)
    assert data == command(Cmd.SEND_RECEIPT, declared)


@given(u64, u64, u64, st.integers(-1, 2**31 - 1), st.integers(0, 2**32 - 1), u64 | st.none())
def test_hand_tuned_delivery(
    consumer: int, ledger: int, entry: int, partition: int, count: int, epoch: int | None
) -> None:
    place = MessageIdData(ledger, entry, partition if partition >= 0 else None)
    declared = Deliver(consumer, place, count or None, consumer_epoch=epoch)
    tail = b"\x18" + varint(partition) if partition >= 0 else b""
    head = delivery_head(b"\x08" + varint(consumer), ledger, entry, tail, count, 3, epoch)
    assert head + b"abc" == frame(Cmd.MESSAGE, declared.encode(), b"abc")


@given(u64, st.integers(0, 2**32 - 1))
def test_hand_tuned_flow(consumer: int, permits: int) -> None:
    assert read_flow(Flow(consumer, permits).encode()) == (consumer, permits)


@given(values(Ack))
def test_hand_tuned_ack(ack: Message) -> None:
    assert read_ack(ack.encode()) == Ack.decode(ack.encode())


@given(values(Metadata), st.binary(max_size=50))
def test_metadata_in_a_blob(metadata: Message, payload: bytes) -> None:
    assert isinstance(metadata, Metadata)
    blob = blob_of(metadata.encode(), payload)
    assert checksum_ok(blob)
    assert payload_of(blob) == payload
    assert publish_time(blob) == metadata.publish_ms
    assert publish_time(blob[6:]) == metadata.publish_ms or blob[6:8] == b"\x0e\x01"
    assert read_metadata(blob).sticky_key() == metadata.sticky_key()


def test_checksum() -> None:
    blob = blob_of(Metadata("p", 1, 2).encode(), b"payload")
    broken = blob[:-1] + b"X"
    assert checksum_ok(blob)
    assert not checksum_ok(broken)
    assert checksum_ok(broken[6:])  # no checksum at all is accepted
    assert not checksum_ok(b"\x0e\x01\x00")


def test_sticky_keys() -> None:
    assert Metadata("p", 7).sticky_key() == b"p-7"
    assert Metadata("p", 7, partition_key="k").sticky_key() == b"k"
    assert Metadata("p", 7, partition_key="aw==", key_is_base64=True).sticky_key() == b"k"
    assert Metadata("p", 7, partition_key="!", key_is_base64=True).sticky_key() == b"!"
    assert Metadata("p", 7, partition_key="k", ordering_key=b"o").sticky_key() == b"o"


@pytest.mark.parametrize(
    ("data", "seed", "wanted"),
    [
        (b"", 0, 0),
        (b"", 1, 0x514E28B7),
        (b"\xff\xff\xff\xff", 0, 0x76293B50),
        (b"!Ce\x87", 0, 0xF55B516B),
        (b"!Ce", 0, 0x7E4A8634),
        (b"!C", 0, 0xA0F7B07A),
        (b"!", 0, 0x72661CF4),
        (b"Hello, world!", 0x9747B28C, 0x24884CBA),
    ],
)
def test_murmur3_vectors(data: bytes, seed: int, wanted: int) -> None:
    assert murmur3(data, seed) == wanted
    assert 0 <= key_slot(data) < 65536


def test_schema_field_numbers() -> None:
    assert Schema("n", b"d", 2).encode() == b"\x0a\x01n\x1a\x01d\x20\x02"


def test_pb_defaults_are_not_shared() -> None:
    first, second = Ack(), Ack()
    first.message_ids.append(MessageIdData(1, 2))
    assert second.message_ids == []
    assert pb(1, "uint").default is None
