"""One stored entry as an answer over HTTP: payload as body, metadata as headers."""

from __future__ import annotations

import json
import re
import zlib
from datetime import UTC, datetime

from aiohttp import web

from wtp.broker.embedded.metadata import payload_of, read_metadata
from wtp.broker.embedded.values import Entry

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
MAX_INFLATED_BYTES = 64 * 1024 * 1024
"""Largest payload that is unpacked for a look at it."""

_ZLIB = 2  # CompressionType in PulsarApi.proto: 0 none, 1 LZ4, 2 ZLIB, 3 ZSTD, 4 SNAPPY.


def entry_answer(entry: Entry) -> web.Response:
    """Return an entry in the form of Pulsar's peek: `X-Pulsar-*` headers and the payload.

    A batch is answered whole with `X-Pulsar-num-batch-message`. Payloads compressed with anything
    but zlib stay as they are; `X-Pulsar-Compression` then tells the codec's number.

    Args:
        entry: The entry.
    """
    metadata = read_metadata(entry.blob)
    payload = payload_of(entry.blob)
    headers = {
        "X-Pulsar-Message-ID": str(entry.position),
        "X-Pulsar-publish-time": _time(entry.publish_ms),
        "X-Pulsar-producer-name": _plain(metadata.producer_name),
        "X-Pulsar-sequence-id": str(metadata.sequence_id),
    }
    if metadata.event_ms:
        headers["X-Pulsar-event-time"] = _time(metadata.event_ms)
    if metadata.partition_key is not None:
        headers["X-Pulsar-partition-key"] = _plain(metadata.partition_key)
    if metadata.num_messages is not None:
        headers["X-Pulsar-num-batch-message"] = str(metadata.num_messages)
    properties = {pair.key: pair.value for pair in metadata.properties}
    if properties:
        headers["X-Pulsar-PROPERTY"] = json.dumps(properties)
    for key, value in properties.items():
        if _TOKEN.fullmatch(key):
            headers[f"X-Pulsar-PROPERTY-{key}"] = _plain(value)
    if metadata.compression == _ZLIB:
        payload = _inflate(payload, metadata.uncompressed_size or 0)
    elif metadata.compression:
        headers["X-Pulsar-Compression"] = str(metadata.compression)
    return web.Response(body=payload, headers=headers, content_type="application/octet-stream")


def _inflate(payload: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(payload, min(max(size, 1), MAX_INFLATED_BYTES))
    except zlib.error:
        return payload


def _plain(text: str) -> str:
    """Text that may stand in a header: other characters are escaped as in JSON."""
    return text if text.isascii() and text.isprintable() else json.dumps(text)


def _time(unix_ms: int) -> str:
    try:
        when = datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(unix_ms)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
