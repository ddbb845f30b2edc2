"""Opening segment files: by their index file after a clean close, by a full scan otherwise.

    index = magic(8) salt(4) ledger(8) first(8) next(8) size(8) max publish ms(8) created ms(8)
            changed ms(8) points(4) holes(4) point* hole* crc(4)

A segment gets its index file when it is sealed, that is when nothing is appended to it any more.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

from wtp.broker.embedded.files import disk_error
from wtp.broker.embedded.records import DATA_START, Gap, scan, unpack_header
from wtp.broker.embedded.segment import Segment
from wtp.errors import StorageError

INDEX = struct.Struct(">8sIQQQQQQQII")
INDEX_MAGIC = b"WTPIDX1\n"
_POINT = struct.Struct(">QQQ")
_HOLE = struct.Struct(">QQ")


def index_path(path: Path) -> Path:
    """Where the index of a segment file lies."""
    return path.with_suffix(".idx")


def save_index(segment: Segment) -> None:
    """Write a sealed segment's index file; a failure costs only a scan at the next start."""
    parts = [
        INDEX.pack(
            INDEX_MAGIC,
            segment.salt,
            segment.ledger,
            segment.first,
            segment.next,
            segment.size,
            segment.max_publish_ms,
            segment.created_ms,
            segment.changed_ms,
            len(segment.point_entries),
            len(segment.holes),
        )
    ]
    points = zip(segment.point_entries, segment.point_offsets, segment.point_max_ms, strict=True)
    parts += [_POINT.pack(*point) for point in points]
    parts += [_HOLE.pack(*hole) for hole in segment.holes]
    content = b"".join(parts)
    path = index_path(segment.path)
    try:
        path.write_bytes(content + crc32(content).to_bytes(4))
    except OSError:
        path.unlink(missing_ok=True)


def load_index(path: Path, size: int) -> Segment | None:
    """Return the segment as its index file describes it; None when there is none that fits.

    Args:
        path: The segment file.
        size: Its size; another one than the index says makes the index worthless.
    """
    try:
        raw = index_path(path).read_bytes()
    except OSError:
        return None
    content = raw[:-4]
    if len(content) < INDEX.size or crc32(content).to_bytes(4) != raw[-4:]:
        return None
    magic, salt, ledger, first, stop, end, max_ms, created, changed, points, holes = INDEX.unpack(
        content[: INDEX.size]
    )
    holes_at = INDEX.size + points * _POINT.size
    if magic != INDEX_MAGIC or end != size or len(content) != holes_at + holes * _HOLE.size:
        return None
    segment = Segment(path, salt, ledger, first, created)
    segment.next, segment.size = stop, end
    segment.max_publish_ms, segment.changed_ms = max_ms, changed
    for entry, offset, before_ms in _POINT.iter_unpack(content[INDEX.size : holes_at]):
        segment.point_entries.append(entry)
        segment.point_offsets.append(offset)
        segment.point_max_ms.append(before_ms)
    segment.holes = list(_HOLE.iter_unpack(content[holes_at:]))
    return segment


def open_segment(path: Path, *, newest: bool, report: Callable[[str], None]) -> Segment | None:
    """Open a segment file that nobody writes.

    Args:
        path: The file.
        newest: Whether it is the last of its topic: then bytes at its end that are no record are
            what a kill or a power cut left of the last append, and are cut off.
        report: Told in a sentence about everything torn or damaged.

    Returns:
        The segment, or None when nothing in it can be read (the file is left as it is, except for
        a newest one that is empty).

    Raises:
        StorageError: The disk refuses.
    """
    try:
        stat = path.stat()
        segment = load_index(path, stat.st_size)
        if segment is not None:
            for first, last in segment.holes:
                report(f"{path} has lost entries {first} to {last} to earlier damage.")
            return segment
        data = path.read_bytes()
    except OSError as error:
        raise disk_error("read", path, error) from error
    header = unpack_header(data[:DATA_START])
    if header is None:
        _without_header(path, data, newest=newest, report=report)
        return None
    salt, ledger, first, created_ms = header
    segment = Segment(path, salt, ledger, first, created_ms)
    segment.changed_ms = stat.st_mtime_ns // 1_000_000
    gaps = _take_up(segment, data)
    for gap in gaps:
        if gap.stop < len(data):
            _report_gap(segment, gap, report)
        elif newest:
            _cut(segment, gap, len(data), stat.st_mtime_ns, report)
        else:
            report(
                f"{path} is damaged from offset {gap.start} to its end: the entries before are "
                f"served, those from {gap.entry} of ledger {ledger} on in this file are lost."
            )
    save_index(segment)
    return segment


def _take_up(segment: Segment, data: bytes) -> list[Gap]:
    gaps = []
    at = DATA_START
    for item in scan(data, DATA_START, segment.salt, segment.first):
        if isinstance(item, Gap):
            gaps.append(item)
        else:
            if item.entry > segment.next:
                segment.lose(segment.next, item.entry - 1)
            segment.note(item.entry, at, item.stop, item.publish_ms)
        at = item.stop
    return gaps


def _report_gap(segment: Segment, gap: Gap, report: Callable[[str], None]) -> None:
    report(
        f"{segment.path} is damaged from offset {gap.start} to {gap.stop}: entries from "
        f"{gap.entry} of ledger {segment.ledger} are lost there, the rest is served."
    )


def _cut(
    segment: Segment, gap: Gap, size: int, mtime_ns: int, report: Callable[[str], None]
) -> None:
    try:
        os.truncate(segment.path, gap.start)
        os.utime(segment.path, ns=(mtime_ns, mtime_ns))
    except OSError as error:
        raise disk_error("repair", segment.path, error) from error
    report(
        f"{segment.path} had a torn tail: {size - gap.start} bytes from offset {gap.start} on were "
        f"cut off (an append that did not end, behind entry {segment.ledger}:{segment.next - 1})."
    )


def _without_header(
    path: Path, data: bytes, *, newest: bool, report: Callable[[str], None]
) -> None:
    if newest and len(data) <= DATA_START:
        remove_segment(path)
        report(f"{path} had no complete header (torn at offset 0) and no entries: removed.")
        return
    report(f"{path} is damaged at offset 0: both copies of its header. Nothing in it is served.")


def remove_segment(path: Path) -> None:
    """Remove a segment file and its index.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        path.unlink(missing_ok=True)
        index_path(path).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error("remove", path, error) from error


def ledger_in_name(path: Path) -> int:
    """Return the ledger id in a segment file's name, -1 when there is none."""
    head = path.stem.partition("-")[0]
    return int(head) if head.isdecimal() else -1


def segment_paths(folder: Path) -> list[Path]:
    """Return the segment files of a topic's folder, oldest first.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(".seg")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_error("read", folder, error) from error
    good = [folder / name for name in names if ledger_in_name(Path(name)) >= 0]
    return sorted(good, key=_order)


def _order(path: Path) -> tuple[int, int]:
    ledger, _, first = path.stem.partition("-")
    return int(ledger), int(first) if first.isdecimal() else 0


def recover(folder: Path, report: Callable[[str], None]) -> list[Segment]:
    """Open all segments of a topic, oldest first, and repair the newest.

    Args:
        folder: The topic's folder.
        report: Told about damage.

    Raises:
        StorageError: The disk refuses.
    """
    found: list[Segment] = []
    paths = segment_paths(folder)
    for path in paths:
        try:
            segment = open_segment(path, newest=path == paths[-1], report=report)
        except StorageError as error:
            report(f"{error.message} Nothing in that file is served.")
            continue
        if segment is None:
            continue
        if (segment.ledger, segment.first) != _order(path):
            report(f"{path} is damaged at offset 0: it belongs to another place. It is not served.")
            continue
        if segment.count:
            found.append(segment)
        elif segment.size == path.stat().st_size:
            remove_segment(path)
    return found
