"""Writes tests/vectors/*.json: `python -m tests.tools.make_vectors`.

The vectors are the contract between the Python and the JavaScript side, so this builds the bytes
from the tables in the module docstrings with `struct` alone and never calls wtp's encoders: a fault
there cannot hide in a vector. Integers that JavaScript cannot hold are strings of digits.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parent.parent / "vectors"

KINDS = {"video": 1, "audio": 2, "chat": 3, "screen": 4, "file": 5, "data": 6}
U32, U64, I64_MIN, I64_MAX = 2**32 - 1, 2**64 - 1, -(2**63), 2**63 - 1
NOW = 1_795_262_400_000_000
"""A capture time: 2026-11-21 12:00:00 UTC in µs."""

Vector = dict[str, Any]


def object_bytes(o: Vector) -> bytes:
    """An object by the byte table: `o` has the fields of a vector."""
    attributes, capture = o.get("attributes"), o.get("capture_us")
    encode, send = o.get("encode_us"), o.get("send_us")
    payload = bytes.fromhex(o.get("payload", ""))
    flags = o.get("key", False) * 1 | (attributes is not None) * 2 | o.get("replayed", False) * 4
    flags |= (capture is not None) * 8 | (encode is not None) * 16 | (send is not None) * 32
    head = struct.pack("!BBBBI", 1, KINDS[o["kind"]], flags, 0, o.get("alias", 1))
    head += struct.pack("!QQq", o.get("seq", 1), o.get("group", 0), capture or 0)
    head += struct.pack("!I", o.get("duration_us", 0))
    head += struct.pack("!I", 0 if encode is None else encode - capture)
    head += struct.pack("!I", 0 if send is None else send - capture)
    head += struct.pack("!I", len(payload))
    if attributes is not None:
        text = json.dumps(attributes, ensure_ascii=False, separators=(",", ":")).encode()
        head += struct.pack("!H", len(text)) + text
    return head + payload


def _portable(value: object) -> object:
    """The same value with integers over 53 bits as text."""
    if isinstance(value, dict):
        return {key: _portable(inner) for key, inner in value.items()}
    if type(value) is int and abs(value) > 2**53 - 1:
        return str(value)
    return value


def object_vectors() -> list[Vector]:
    """Every kind, flag and edge of the object header."""
    plain = {"kind": "video", "payload": "010203"}
    stamps = {"capture_us": NOW, "encode_us": NOW + 4_000, "send_us": NOW + 4_500}
    rows: dict[str, Vector] = {f"kind {kind}": plain | {"kind": kind} for kind in KINDS}
    rows |= {
        "key frame, all stamps": plain | stamps | {"key": True, "seq": 61, "group": 2},
        "no stamp at all": plain | {"seq": 7},
        "capture stamp alone": plain | {"capture_us": NOW},
        "capture and encode": plain | {"capture_us": NOW, "encode_us": NOW + 1},
        "capture and send": plain | {"capture_us": NOW, "send_us": NOW + 1},
        "all stamps at the same time": plain
        | {"capture_us": NOW, "encode_us": NOW, "send_us": NOW},
        "captured at zero": plain | {"capture_us": 0},
        "captured before 1970": plain | {"capture_us": -1, "encode_us": 0},
        "earliest capture": plain | {"capture_us": I64_MIN},
        "latest capture": plain | {"capture_us": I64_MAX, "send_us": I64_MAX + U32},
        "longest deltas": plain | {"capture_us": NOW, "encode_us": NOW + U32, "send_us": NOW + U32},
        "replayed": plain | stamps | {"replayed": True},
        "largest numbers": plain | {"alias": U32, "seq": U64, "group": U64, "duration_us": U32},
        "smallest numbers": plain | {"alias": 0, "seq": 0, "group": 0},
        "beyond 53 bits": plain | {"seq": 2**53 + 1, "group": 2**53 + 3},
        "duration of one picture at 30/s": plain | {"duration_us": 33_333},
        "empty payload": plain | {"payload": ""},
        "empty payload, with extension": plain | {"payload": "", "attributes": {"a": "b"}},
        "empty extension": plain | {"attributes": {}},
        "chat with author": {
            "kind": "chat",
            "payload": "Grüße 👋".encode().hex(),
            "capture_us": NOW,
            "attributes": {"author": "Zoë", "emoji": "👋"},
        },
        "file chunk": {
            "kind": "file",
            "payload": "ff" * 64,
            "seq": 2,
            "attributes": {"name": "bikes.mp4", "chunk": "1", "chunks": "3", "sha256": "00" * 32},
        },
        "largest extension": plain | {"attributes": {"a": "x" * (1024 - len('{"a":""}'))}},
        "everything": {
            "kind": "screen",
            "key": True,
            "replayed": True,
            "alias": 3,
            "seq": 9,
            "group": 4,
            "duration_us": 1,
            "attributes": {"k": "v", "": ""},
            "payload": "00" * 300,
        }
        | stamps,
    }
    defaults: Vector = {
        "alias": 1, "seq": 1, "group": 0, "key": False, "replayed": False, "capture_us": None,
        "encode_us": None, "send_us": None, "duration_us": 0, "attributes": {}, "payload": "",
    }  # fmt: skip
    return [
        {"name": name, "fields": _portable(defaults | row), "bytes": object_bytes(row).hex()}
        for name, row in rows.items()
    ]


def legacy_bytes(track: bytes, kind: bytes, payload: bytes, length: int | None = None) -> bytes:
    """A message of the original framing by its byte table."""
    size = struct.pack("!I", len(payload) if length is None else length)
    return track.ljust(16, b"\0") + size + kind.ljust(12, b"\0") + payload


def legacy_vectors() -> list[Vector]:
    """The original framing: every kind, full fields, unknown kinds."""
    rows = [(f"kind {kind}", "track-1", kind, b"payload") for kind in KINDS]
    rows += [
        ("names that fill their fields", "abcdefghijklmnop", "abcdefghijkl", b"x"),
        ("one character each", "a", "b", b""),
        ("empty payload", "video-1", "video", b""),
        ("unknown type", "t", "hologram", b"?"),
        ("track id beyond ASCII", "Zoë", "chat", "hé".encode()),
        ("spaces", "my track", "chat", b"hello"),
    ]
    return [
        {
            "name": name,
            "fields": {"track_id": t, "type": k, "known": k in KINDS, "payload": p.hex()},
            "bytes": legacy_bytes(t.encode(), k.encode(), p).hex(),
        }
        for name, t, k, p in rows
    ]


def control_bytes(body: object) -> bytes:
    """A control message: length and JSON."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return struct.pack("!I", len(text)) + text


def control_vectors() -> list[Vector]:
    """Each control message, with and without its optional fields; unknown types and fields."""
    rows: dict[str, Vector] = {
        "hello": {"type": "hello", "name": "cam", "instance": "a1", "version": "0.1.0"},
        "hello, shortest": {"type": "hello", "name": "cam", "instance": "a1"},
        "hello beyond ASCII": {"type": "hello", "name": "Zoë👋", "instance": ""},
        "welcome": {
            "type": "welcome", "session": "s1", "boot_id": "b", "anchor_us": NOW,
            "version": "0.1.0", "room": "default",
        },
        "publish": {
            "type": "publish", "alias": 1, "track": "video", "kind": "video",
            "content_type": "video/h264",
        },
        "published": {"type": "published", "alias": 1, "last_seq": 41},
        "published, live": {"type": "published", "alias": 1},
        "receipt": {"type": "receipt", "alias": 2, "up_to_seq": 99},
        "rejected": {
            "type": "rejected", "alias": 2, "seq": 7, "code": "too-large", "message": "Too large.",
        },
        "rejected, said back": {"type": "rejected", "alias": 2, "seq": 7, "code": "too-large"},
        "stats": {"type": "stats", "tracks": {"1": {"offered": 5, "delivered": 4, "dropped": 1}}},
        "stats of nothing": {"type": "stats", "tracks": {}},
        "ping": {"type": "ping", "t0_us": NOW},
        "pong": {"type": "pong", "t0_us": 1, "t1_us": 2, "t2_us": 3},
        "offset": {"type": "offset", "offset_us": -250, "error_us": 80},
        "flush": {"type": "flush", "sent": {"1": 300, "2": 5}},
        "flush of nothing": {"type": "flush"},
        "flushed": {"type": "flushed", "tracks": {"1": {"received": 300}}},
        "keyframe": {"type": "keyframe", "alias": 3},
        "drain": {"type": "drain", "reason": "restart"},
        "error": {"type": "error", "code": "name-taken", "message": "Taken.", "alias": 3},
        "error of the session": {"type": "error", "code": "full", "message": "Full."},
        "unknown fields are ignored": {"type": "ping", "t0_us": 1, "later": [1, {"x": None}]},
        "unknown types are skipped": {"type": "subscribe", "track": "a/b/c"},
    }  # fmt: skip
    defaults: dict[str, Vector] = {
        "hello": {"version": ""},
        "published": {"last_seq": -1},
        "rejected": {"message": ""},
        "flush": {"sent": {}},
        "flushed": {"tracks": {}},
        "drain": {"reason": ""},
        "error": {"alias": -1},
        "welcome": {"version": "", "room": ""},
    }
    out = []
    for name, body in rows.items():
        known = {key: value for key, value in body.items() if key not in ("type", "later")}
        fields = None if body["type"] == "subscribe" else defaults.get(body["type"], {}) | known
        out.append(
            {
                "name": name,
                "type": body["type"],
                "fields": fields,
                "bytes": control_bytes(body).hex(),
            }
        )
    return out


def _patched(base: bytes, offset: int, piece: bytes) -> bytes:
    return base[:offset] + piece + base[offset + len(piece) :]


def damaged_vectors() -> list[Vector]:
    """Bytes that each parser must refuse, and the error code it gives."""
    good = object_bytes({"kind": "chat", "payload": "6869", "capture_us": NOW})
    bare = object_bytes({"kind": "chat", "payload": ""})

    def extension(text: bytes) -> bytes:
        return _patched(bare, 2, b"\x02") + struct.pack("!H", len(text)) + text

    objects = {
        "version 0": (_patched(good, 0, b"\0"), "header"),
        "version 2": (_patched(good, 0, b"\x02"), "header"),
        "kind 0": (_patched(good, 1, b"\0"), "kind"),
        "kind 7": (_patched(good, 1, b"\x07"), "kind"),
        "unknown flag": (_patched(good, 2, b"\x48"), "header"),
        "reserved byte": (_patched(good, 3, b"\x01"), "header"),
        "encode without capture": (_patched(good, 2, b"\x10"), "header"),
        "send without capture": (_patched(good, 2, b"\x20"), "header"),
        "chat over 16 KiB": (_patched(good, 44, struct.pack("!I", 16 * 1024 + 1)), "too-large"),
        "video over 4 MiB": (
            _patched(_patched(good, 1, b"\x01"), 44, struct.pack("!I", 4 * 1024 * 1024 + 1)),
            "too-large",
        ),
        "4 GiB": (_patched(good, 44, b"\xff\xff\xff\xff"), "too-large"),
        "extension over 1024 bytes": (_patched(bare, 2, b"\x02") + b"\x04\x01", "extension"),
        "extension of no bytes": (extension(b""), "extension"),
        "extension not JSON": (extension(b"{"), "extension"),
        "extension a list": (extension(b"[]"), "extension"),
        "extension with a number": (extension(b'{"a":1}'), "extension"),
        "extension with null": (extension(b'{"a":null}'), "extension"),
        "extension nested": (extension(b'{"a":{"b":"c"}}'), "extension"),
        "extension with reserved name": (extension(b'{"seq":"1"}'), "extension"),
        "extension not UTF-8": (extension(b'{"a":"\xff"}'), "extension"),
        "extension in UTF-16": (extension('{"a":"b"}'.encode("utf-16-le")), "extension"),
        "extension with half a surrogate": (extension(b'{"a":"\\ud800"}'), "extension"),
        "extension nested deeply": (extension(b"[" * 1024), "extension"),
        "garbage": (b"GET / HTTP/1.1\r\nHost: example.org\r\nAccept: text/html\r\n\r\n", "header"),
    }
    legacy = {
        "empty track id": (legacy_bytes(b"", b"video", b""), "header"),
        "empty type": (legacy_bytes(b"t", b"", b""), "header"),
        "bytes behind the end": (legacy_bytes(b"a\0b", b"video", b""), "header"),
        "track id not UTF-8": (legacy_bytes(b"a\xff", b"video", b""), "header"),
        "control character": (legacy_bytes(b"a\x1b[2J", b"video", b""), "header"),
        "chat over 16 KiB": (legacy_bytes(b"t", b"chat", b"", 16 * 1024 + 1), "too-large"),
        "unknown type over 4 MiB": (legacy_bytes(b"t", b"x", b"", 4 * 1024**2 + 1), "too-large"),
        "4 GiB": (legacy_bytes(b"t", b"video", b"", U32), "too-large"),
    }

    def framed(text: bytes) -> bytes:
        return struct.pack("!I", len(text)) + text

    control = {
        "over 16 KiB": (struct.pack("!I", 16 * 1024 + 1), "too-large"),
        "4 GiB": (b"\xff\xff\xff\xff", "too-large"),
        "empty": (framed(b""), "control"),
        "not JSON": (framed(b"hello"), "control"),
        "not UTF-8": (framed(b'{"type":"hello","name":"\xff","instance":""}'), "control"),
        "a list": (framed(b"[]"), "control"),
        "no type": (framed(b"{}"), "control"),
        "type a number": (framed(b'{"type":1}'), "control"),
        "type a list": (framed(b'{"type":["ping"]}'), "control"),
        "field missing": (control_bytes({"type": "ping"}), "control"),
        "text for a number": (control_bytes({"type": "ping", "t0_us": "1"}), "control"),
        "true for a number": (control_bytes({"type": "ping", "t0_us": True}), "control"),
        "fraction for a number": (control_bytes({"type": "ping", "t0_us": 1.5}), "control"),
        "number over 64 bits": (control_bytes({"type": "ping", "t0_us": 2**64}), "control"),
        "number for text": (control_bytes({"type": "drain", "reason": 1}), "control"),
        "null for text": (control_bytes({"type": "drain", "reason": None}), "control"),
        "half a surrogate": (framed(b'{"type":"drain","reason":"\\ud800"}'), "control"),
        "counts not an object": (control_bytes({"type": "flush", "sent": [1]}), "control"),
        "count not a number": (control_bytes({"type": "flush", "sent": {"1": "x"}}), "control"),
        "count over 64 bits": (control_bytes({"type": "flush", "sent": {"1": 2**64}}), "control"),
        "count under half a surrogate": (
            framed(b'{"type":"flush","sent":{"\\udfff":1}}'),
            "control",
        ),
        "counts one level short": (control_bytes({"type": "stats", "tracks": {"1": 1}}), "control"),
        "nested deeply": (framed(b"[" * 16_000), "control"),
    }
    parsers = {"objects": objects, "legacy": legacy, "control": control}
    return [
        {"name": name, "parser": parser, "bytes": data.hex(), "code": code}
        for parser, rows in parsers.items()
        for name, (data, code) in rows.items()
    ]


FILES = {
    "objects": object_vectors,
    "legacy": legacy_vectors,
    "control": control_vectors,
    "damaged": damaged_vectors,
}


def text_of(name: str) -> str:
    """The text of one vector file."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in FILES:
        (VECTORS / f"{name}.json").write_text(text_of(name), encoding="utf-8")
