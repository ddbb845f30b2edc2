"""Hand-tuned coding of the four commands that travel once per message.

Each gives exactly what the declaration in `commands` gives; tests compare them.
"""

from __future__ import annotations

import struct

from wtp.broker.embedded.commands import Ack, Flow, MessageIdData, Send
from wtp.broker.embedded.numbers import NO_ID
from wtp.broker.embedded.protobuf import read_varint, varint

_SIZES = struct.Struct(">II")
_NO_HIGHEST = b"\x20" + varint(NO_ID)
_NOWHERE = (NO_ID, NO_ID)


SendHead = tuple[int, int, int, int, bool, bool]
"""What a SEND command says: producer id, sequence id, number of messages, highest sequence id (-1
when the client sent none), whether it is a chunk, whether it belongs to a transaction."""


def read_send(body: bytes) -> SendHead:
    """Decode SEND.

    Raises:
        WireError: it is no SEND.
    """
    producer = sequence = -1
    messages, highest = 1, -1
    pos, end = 0, len(body)
    while pos < end:
        tag = body[pos]
        pos += 1
        if pos == end or tag not in _PLAIN:
            return _read_send_slowly(body)
        value = body[pos]
        pos += 1
        if value >= 128:
            value, pos = read_varint(body, pos - 1)
        if tag == 8:
            producer = value
        elif tag == 16:
            sequence = value
        elif tag == 24:
            messages = value
        else:
            highest = value
    if producer < 0 or sequence < 0 or messages > 0x7FFFFFFF:
        return _read_send_slowly(body)
    return producer, sequence, messages, highest, False, False


_PLAIN = frozenset((8, 16, 24, 48))


def _read_send_slowly(body: bytes) -> SendHead:
    send = Send.decode(body)
    return (
        send.producer_id,
        send.sequence_id,
        send.num_messages,
        -1 if send.highest_sequence_id is None else send.highest_sequence_id,
        send.is_chunk,
        send.txn_least is not None or send.txn_most is not None,
    )


def receipt(
    producer_id: int, sequence_id: int, highest: int, position: tuple[int, int] | None
) -> bytes:
    """Build a SEND_RECEIPT frame.

    Args:
        producer_id: As in the SEND.
        sequence_id: As in the SEND.
        highest: As in the SEND; -1 for none is sent as 2^64-1.
        position: Where the message lies; None (it was stored before) is sent as 2^64-1 twice.
    """
    ledger, entry = position or _NOWHERE
    place = b"\x08%b\x10%b" % (varint(ledger), varint(entry))
    tail = _NO_HIGHEST if highest < 0 else b"\x20" + varint(highest)
    who, which, at = varint(producer_id), varint(sequence_id), len(place)
    size = len(who) + len(which) + at + len(tail) + 4
    return b"%b\x08\x07\x3a%c\x08%b\x10%b\x1a%c%b%b" % (
        _SIZES.pack(size + 8, size + 4),
        size,
        who,
        which,
        at,
        place,
        tail,
    )


def delivery_head(
    consumer: bytes,
    ledger: int,
    entry: int,
    tail: bytes,
    redeliveries: int,
    blob_bytes: int,
    epoch: int | None = None,
) -> bytes:
    """Build what precedes the blob in a MESSAGE frame.

    Args:
        consumer: Encoded consumer id field (`08 <id>`).
        ledger: The entry's ledger.
        entry: The entry's number.
        tail: Encoded partition field of the message id, or nothing.
        redeliveries: How often it was delivered before.
        blob_bytes: Size of the blob that follows.
        epoch: The consumer's epoch, when it sent one.
    """
    place = b"\x08%b\x10%b%b" % (varint(ledger), varint(entry), tail)
    end = b"\x18" + varint(redeliveries) if redeliveries else b""
    if epoch is not None:
        end += b"\x28" + varint(epoch)
    size = len(consumer) + 2 + len(place) + len(end)
    return b"%b\x08\x09\x4a%c%b\x12%c%b%b" % (
        _SIZES.pack(size + 8 + blob_bytes, size + 4),
        size,
        consumer,
        len(place),
        place,
        end,
    )


def read_flow(body: bytes) -> tuple[int, int]:
    """Decode FLOW into consumer id and permits."""
    if len(body) == 4 and body[0] == 8 and body[2] == 16 and body[1] < 128 and body[3] < 128:
        return body[1], body[3]
    flow = Flow.decode(body)
    return flow.consumer_id, flow.permits


def read_ack(body: bytes) -> Ack:
    """Decode ACK; the message ids of a grouped acknowledgement are read without detours."""
    pos, end = 0, len(body)
    ack = Ack()
    seen = 0
    while pos < end:
        tag, pos = read_varint(body, pos)
        if tag == 26:
            size, pos = read_varint(body, pos)
            place = body[pos : pos + size]
            if len(place) < size:
                return Ack.decode(body)
            pos += size
            ack.message_ids.append(_read_place(place))
        elif tag in _ACK_FIELDS:
            value, pos = read_varint(body, pos)
            if tag == 16 and value > 1:
                return Ack.decode(body)
            setattr(ack, _ACK_FIELDS[tag], value)
            seen |= tag
        else:
            return Ack.decode(body)
    return ack if seen & 24 == 24 else Ack.decode(body)


_ACK_FIELDS = {8: "consumer_id", 16: "ack_type", 48: "txn_least", 56: "txn_most", 64: "request_id"}


def _read_place(place: bytes) -> MessageIdData:
    if len(place) < 4 or place[0] != 8:
        return MessageIdData.decode(place)
    ledger, pos = read_varint(place, 1)
    if pos >= len(place) or place[pos] != 16:
        return MessageIdData.decode(place)
    entry, pos = read_varint(place, pos + 1)
    if pos == len(place):
        return MessageIdData(ledger, entry)
    return MessageIdData.decode(place)
