"""Objects as a router would send them, and code as a user would write it."""

from __future__ import annotations

from pathlib import Path

from wtp.model import Kind, Object, to_properties
from wtp.processor.code import CodeSpec
from wtp.wire.process import Parcel

CONTENT_TYPES = {
    Kind.VIDEO: "image/jpeg",
    Kind.SCREEN: "image/jpeg",
    Kind.AUDIO: "audio/pcm;format=s16le;rate=48000;channels=1",
    Kind.CHAT: "text/plain",
}


def parcel(
    payload: bytes = b"hello",
    kind: Kind = Kind.CHAT,
    seq: int = 1,
    *,
    track: str = "",
    content_type: str = "",
    key: bool = True,
    instance: str = "run1",
    **attributes: str,
) -> Parcel:
    """An object of a kind with everything a router sets."""
    obj = Object(
        kind,
        seq=seq,
        group=seq,
        key=key,
        payload=payload,
        capture_us=1_000_000 + seq,
        content_type=content_type or CONTENT_TYPES.get(kind, "application/octet-stream"),
        attributes=attributes,
    )
    return Parcel(track or f"default/me/{kind}", to_properties(obj, instance, "boot:1", 0), payload)


def code(folder: Path, text: str, function: str = "process") -> CodeSpec:
    """User code in a file."""
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return CodeSpec.parse(f"{path}:{function}")
