"""Recorded objects, to be put through code: from a folder or a file of lines.

a folder of `wtp consume --save DIR`: pictures, files with their indexes, chat lines
a .jsonl file, a line per object: as a processor takes it ({"track", "properties", "payload"}),
or as `wtp consume chat -o jsonl` writes it, with its "text"
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from wtp.errors import UsageError, WireError
from wtp.model import Kind, Object, to_properties
from wtp.wire.process import Parcel, decode_request

_PICTURES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
_PICTURE_NAME = re.compile(r"(.+)-(\d{16})-(\d{8})")
_INDEX = ".index.jsonl"


def read_recorded(path: Path, kind: Kind) -> list[Parcel]:
    """The objects of a recording, per track in their order.

    Args:
        path: A folder, or a .jsonl file.
        kind: What they are; a recording in a folder does not say it.

    Raises:
        UsageError: There is no such recording, it is damaged, or it holds no such objects.
    """
    if path.is_dir():
        found = list(_folder(path, kind))
    elif path.is_file():
        found = [one for one in _lines(path) if one.properties.get("kind") == kind]
    else:
        raise UsageError(
            f"There is no recording {path}.", hint=f"Make one: wtp consume {kind} --save DIR."
        )
    if not found:
        raise UsageError(
            f"{path} holds no {kind} objects.", hint=f"Make some: wtp consume {kind} --save DIR."
        )
    return found


def _folder(folder: Path, kind: Kind) -> Iterator[Parcel]:
    for file in sorted(folder.iterdir()):
        if file.name.endswith(_INDEX):
            yield from _indexed(file, kind)
        elif file.suffix in _PICTURES and kind in (Kind.VIDEO, Kind.SCREEN):
            yield _picture(file, kind)
        elif file.suffix == ".txt" and kind is Kind.CHAT:
            lines = file.read_text(encoding="utf-8").splitlines()
            for seq, line in enumerate(lines, 1):
                yield _parcel(file.stem, Object(kind, seq, seq, True, line.encode()), "text/plain")


def _indexed(index: Path, kind: Kind) -> Iterator[Parcel]:
    """Objects of a file with an index beside it."""
    data = index.with_name(index.name.removesuffix(_INDEX))
    with data.open("rb") as file:
        for number, text in enumerate(index.read_text(encoding="utf-8").splitlines(), 1):
            line = _json(index, number, text)
            file.seek(line["offset"])
            obj = Object(
                kind,
                seq=line.get("seq") or number,
                group=line.get("group") or 0,
                key=bool(line.get("key", True)),
                payload=file.read(line["size"]),
                capture_us=line.get("capture_us"),
                duration_us=line.get("duration_us") or 0,
                attributes=line.get("attributes") or {},
            )
            content_type = line.get("content_type") or ""
            yield _parcel(data.name.partition(".")[0], obj, content_type, line.get("instance"))


def _picture(file: Path, kind: Kind) -> Parcel:
    match = _PICTURE_NAME.fullmatch(file.stem)
    name, capture_us, seq = match.groups() if match else (file.stem, "0", "1")
    obj = Object(
        kind, int(seq), int(seq), True, file.read_bytes(), capture_us=int(capture_us) or None
    )
    return _parcel(name, obj, _PICTURES[file.suffix])


def _parcel(name: str, obj: Object, content_type: str, instance: str | None = "") -> Parcel:
    properties = to_properties(replace(obj, content_type=content_type), instance or "", "", None)
    return Parcel(f"recorded/recorded/{name[:64]}", properties, obj.payload)


def _lines(path: Path) -> Iterator[Parcel]:
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            line = _json(path, number, text)
            try:
                yield _told(line) if "properties" not in line else _asked(text)
            except (WireError, TypeError, ValueError, KeyError) as error:
                raise _damaged(path, number, str(error)) from error


def _asked(text: str) -> Parcel:
    return decode_request({"Content-Type": "application/json"}, text.encode())


def _told(line: dict[str, Any]) -> Parcel:
    """An object as `wtp consume -o jsonl` tells it."""
    obj = Object(
        Kind(line["kind"]),
        seq=line["seq"],
        group=line["group"],
        key=line["key"],
        payload=line["text"].encode(),
        content_type=line["content_type"] or "",
        attributes=line["attributes"],
        **{name: line[name] for name in ("capture_us", "encode_us", "send_us")},
    )
    return Parcel(line["track"], to_properties(obj, line["instance"] or "", "", None), obj.payload)


def _json(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, number, str(error)) from error
    if not isinstance(line, dict):
        raise _damaged(path, number, "it is no JSON object")
    return line


def _damaged(path: Path, number: int, why: str) -> UsageError:
    return UsageError(f"{path}, line {number} is no object: {why}.", hint="Record it again.")
