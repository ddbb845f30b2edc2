"""Golden replay: recorded objects through code, and what came out compared with what once did."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wtp.errors import UsageError
from wtp.processor.code import CodeFailed, CodeSpec
from wtp.processor.isolate import Runner
from wtp.wire.process import Parcel

TEXT_BYTES = 2000
"""Texts up to this size stand in the golden file as they are; anything else as a checksum."""

MOST_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class Compared:
    """What a golden replay found.

    Attributes:
        objects: How many went in.
        made: How many came out.
        failed: How many the code failed on.
        differences: Sentences, the first ones.
        count: Of all differences.
        updated: Whether the golden file was written instead of compared.
    """

    objects: int
    made: int
    failed: int
    differences: list[str] = field(default_factory=list)
    count: int = 0
    updated: bool = False


def golden_file(spec: CodeSpec) -> Path:
    """Where the golden file of code lies by default: beside it, or in this folder."""
    name = f"{spec.name}.golden.jsonl"
    return Path(spec.target).with_name(name) if spec.is_file else Path(name)


async def replay(runner: Runner, recorded: list[Parcel]) -> list[dict[str, Any]]:
    """Put objects through started code.

    Returns:
        A line of the golden file for each.
    """
    lines = []
    for parcel in recorded:
        line: dict[str, Any] = {"track": parcel.track, "seq": int(parcel.properties["seq"])}
        try:
            made = await runner.process(parcel)
        except CodeFailed as error:
            line["failed"] = error.code
            line["why"] = error.message.partition("\n")[0][:200]
        else:
            line["made"] = [_described(one) for one in made.parcels]
            if made.reason:
                line["left_out"] = made.reason
        lines.append(line)
    return lines


def compare(file: Path, lines: list[dict[str, Any]]) -> Compared:
    """Compare a replay with the golden file.

    Raises:
        UsageError: There is none yet, or it is damaged.
    """
    try:
        text = file.read_text(encoding="utf-8")
        golden = [json.loads(line) for line in text.splitlines() if line]
    except FileNotFoundError:
        raise UsageError(
            f"There is no golden file {file} yet.", hint="Write it with --update, then look at it."
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}.", hint="Write it anew with --update."
        ) from error
    found = [
        f"object {now['seq']} of {now['track']}: {_short(before)} became {_short(now)}"
        for before, now in zip(golden, lines, strict=False)
        if _essence(before) != _essence(now)
    ]
    if len(golden) != len(lines):
        found.append(f"{len(golden)} objects are in the golden file, {len(lines)} were replayed")
    return _summed(lines, found[:MOST_DIFFERENCES], len(found))


def update(file: Path, lines: list[dict[str, Any]]) -> Compared:
    """Write a replay as the golden file."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    file.write_text(text, encoding="utf-8")
    return _summed(lines, [], 0, updated=True)


def _summed(
    lines: list[dict[str, Any]], differences: list[str], count: int, updated: bool = False
) -> Compared:
    made = sum(len(line.get("made", ())) for line in lines)
    failed = sum("failed" in line for line in lines)
    return Compared(len(lines), made, failed, differences, count, updated)


def _described(parcel: Parcel) -> dict[str, Any]:
    """What came out, without stamps: two runs must agree."""
    out: dict[str, Any] = {
        "track": parcel.track,
        "kind": parcel.properties["kind"],
        "content_type": parcel.properties["content_type"],
        "attributes": parcel.attributes,
        "bytes": len(parcel.payload),
    }
    textual = parcel.properties["content_type"].startswith(("text/", "application/json"))
    if textual and len(parcel.payload) <= TEXT_BYTES:
        out["text"] = parcel.payload.decode("utf-8", "replace")
    else:
        out["sha256"] = hashlib.sha256(parcel.payload).hexdigest()
    return out


def _essence(line: Any) -> Any:
    """What is compared: where an exception came from may change."""
    return {k: v for k, v in line.items() if k != "why"} if isinstance(line, dict) else line


def _short(line: Any) -> str:
    if not isinstance(line, dict):
        return "nothing"
    if "failed" in line:
        return f"{line['failed']} ({line.get('why', '')})"
    made = line.get("made") or []
    told = [one.get("text") or f"{one['content_type']} of {one['bytes']} bytes" for one in made]
    return ", ".join(told)[:200] or line.get("left_out") or "nothing"
