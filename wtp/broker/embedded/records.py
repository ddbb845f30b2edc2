"""The format of a segment file: a run of records with checksums. Pure; no I/O.

    file    = header header record*          the header stands there twice: one bit costs nothing
    header  = magic(8) salt(4) ledger(8) first entry(8) created ms(8) crc(4)
    record  = magic(4) length(4) entry(8) publish ms(8) messages(4) header crc(4) crc(4) blob

All numbers are big-endian. The record's header checksum starts from the file's random salt, so that
a payload that looks like a record is not taken for one when the reader looks for the next good
record behind damage; the second checksum goes on over the blob.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

HEADER = struct.Struct(">8sIQQQ")
HEADER_MAGIC = b"WTPSEG1\n"
DATA_START = 2 * (HEADER.size + 4)
"""Offset of the first record."""

RECORD = struct.Struct(">4sIQQI")
SUMS = struct.Struct(">II")
RECORD_MAGIC = b"\xf6Wr\x01"
OVERHEAD = RECORD.size + SUMS.size
"""Bytes of a record beside its blob."""

_FULL_HEADER = struct.Struct(">4sIQQIII")


class Record(NamedTuple):
    """A record that was found good: number, publish time, messages, and where its blob lies."""

    entry: int
    publish_ms: int
    messages: int
    start: int
    stop: int


class Gap(NamedTuple):
    """Damage inside a file: from offset to offset, and the number of the entry expected there."""

    start: int
    stop: int
    entry: int


def pack_header(salt: int, ledger: int, first: int, created_ms: int) -> bytes:
    """Return the start of a segment file (`DATA_START` bytes)."""
    head = HEADER.pack(HEADER_MAGIC, salt, ledger, first, created_ms)
    return (head + crc32(head).to_bytes(4)) * 2


def unpack_header(data: bytes) -> tuple[int, int, int, int] | None:
    """Return (salt, ledger, first entry, created ms) from the first good copy, or None."""
    for start in (0, DATA_START // 2):
        head = data[start : start + HEADER.size]
        sum_at = start + HEADER.size
        if len(data) >= sum_at + 4 and crc32(head).to_bytes(4) == data[sum_at : sum_at + 4]:
            magic, salt, ledger, first, created_ms = HEADER.unpack(head)
            if magic == HEADER_MAGIC:
                return salt, ledger, first, created_ms
    return None


def pack_record(entry: int, publish_ms: int, messages: int, blob: bytes, salt: int) -> bytes:
    """Return the header of a record whose blob follows it (`OVERHEAD` bytes)."""
    head = RECORD.pack(RECORD_MAGIC, len(blob), entry, publish_ms, messages)
    head_sum = crc32(head, salt)
    return head + SUMS.pack(head_sum, crc32(blob, head_sum))


def check_record(data: bytes, at: int, salt: int) -> Record | int | None:
    """Look at the record at an offset.

    Returns:
        The record when it is good; the offset of its end when its header is good but `data` ends
        before; None when it is no good record.
    """
    start = at + OVERHEAD
    if start > len(data):
        return None
    magic, length, entry, publish_ms, messages, head_sum, blob_sum = _FULL_HEADER.unpack_from(
        data, at
    )
    if magic != RECORD_MAGIC or crc32(data[at : at + RECORD.size], salt) != head_sum:
        return None
    stop = start + length
    if stop > len(data):
        return int(stop)
    if crc32(data[start:stop], head_sum) != blob_sum:
        return None
    return Record(entry, publish_ms, messages, start, stop)


def scan(data: bytes, at: int, salt: int, entry: int) -> Iterator[Record | Gap]:
    """Walk over all records from an offset on, and over the damage between them.

    Args:
        data: The whole file.
        at: Where to begin.
        salt: The file's salt.
        entry: Number that the first record should have.

    Yields:
        Good records in order. A `Gap` stands where bytes are no record; one that ends at the end
        of `data` is a torn tail or a damaged end.
    """
    while at < len(data):
        found = check_record(data, at, salt)
        if isinstance(found, Record) and found.entry >= entry:
            yield found
            at, entry = found.stop, found.entry + 1
            continue
        after = resync(data, at, salt, entry)
        yield Gap(at, after, entry)
        at = after


def resync(data: bytes, at: int, salt: int, entry: int) -> int:
    """Return the offset of the first good record behind `at`; the length of `data` for none.

    Args:
        data: The file from anywhere to its end.
        at: Where the damage begins.
        salt: The file's salt.
        entry: Number of the entry expected at `at`.
    """
    begin = at
    while (at := data.find(RECORD_MAGIC, at + 1)) >= 0:
        found = check_record(data, at, salt)
        # A lost record takes at least OVERHEAD bytes: that bounds the numbers that may be missing.
        if isinstance(found, Record) and 0 <= found.entry - entry <= (at - begin) // OVERHEAD + 1:
            return at
    return len(data)
