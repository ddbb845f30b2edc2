"""Saving objects in a folder: a file each, or one file per track with an index beside it.

    image/jpeg, image/png      a file per object: <publisher>-<track>-<capture_us>-<seq>.jpg
    video/h264, audio/...      <publisher>-<track>.h264 and <publisher>-<track>.index.jsonl
    chat                       <publisher>-<track>.txt, a line each
    data, file, anything else  <publisher>-<track>.bin, bytes appended, with an index

Messages that are not ours are treated as what they look like. Without a key they are named after
their topic, and single pictures have their publish time and a number from 1 on instead of capture
time and sequence: video-topic-<publish_us>-<number>.jpg.

A line of the index tells where an object lies: `seq`, `capture_us`, `key`, `offset`, `size`, ...
"""

from __future__ import annotations

import json
import os
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path

from wtp.consumer.item import TEXTUAL, Item, named_kind, split_track
from wtp.consumer.output import escape, open_new, storage
from wtp.errors import StorageError
from wtp.model import Kind, clean_name

EXTENSIONS = {
    "video/h264": ".h264",
    "video/vp8": ".vp8",
    "video/vp9": ".vp9",
    "video/av1": ".obu",
    "audio/opus": ".opus-packets",
    "audio/pcm": ".pcm",
    "audio/aac": ".aac",
    "text/plain": ".txt",
}
"""Ending of a track's one file by content type; `.bin` for any other."""

PICTURE_EXTENSIONS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
"""Content types whose objects are files of their own."""

MAX_OPEN = 64
"""Tracks whose files are open at a time; a folder of more is closed and opened again."""


class TrackFile:
    """The one file of a track, and its index.

    Args:
        path: Of the file.
        index: Of the index; None for none.
    """

    def __init__(self, path: Path, index: Path | None) -> None:
        self.path, self.index = path, index
        self.offset = 0
        self._created = False
        self._open: list[int] = []

    def open(self, force: bool) -> None:
        """Open the files: anew the first time, at their end when they were closed between."""
        for path in (self.path, self.index):
            if path is None:
                continue
            if self._created:
                with storage(str(path)):
                    self._open.append(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
            else:
                self._open.append(open_new(path, force=force))
        self._created = True

    @property
    def is_open(self) -> bool:
        """Whether it can be written."""
        return bool(self._open)

    def write(self, data: bytes, line: str) -> None:
        """Append an object, then its line in the index: what the index names is there."""
        for path, descriptor, part in zip(
            (self.path, self.index), self._open, (data, line.encode()), strict=False
        ):
            with storage(str(path)):
                rest = memoryview(part)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
        self.offset += len(data)

    def close(self) -> None:
        """Close the files."""
        while self._open:
            os.close(self._open.pop())


class Save:
    """Saves objects in a folder; nothing is lost while it is slow, reading is held up.

    Args:
        folder: Is made when it does not exist.
        force: Whether files that exist may be replaced.
    """

    inline = False
    lossless = True
    idle_s = 0.0

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        self.folder = folder
        self._force = force
        self._files: OrderedDict[tuple[str, str], TrackFile] = OrderedDict()
        self._stems: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()

    def open(self) -> None:
        """Make the folder and see that it can be written.

        Raises:
            StorageError: It cannot be made or written.
        """
        with storage(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise StorageError(
                f"{self.folder} cannot be written.", hint="Choose another folder for --save."
            )

    def take(self, items: Sequence[Item]) -> list[str]:
        """Save objects.

        Raises:
            UsageError: A file exists and `force` is false.
            StorageError: The disk is full, or a file cannot be written.
        """
        return [self._save(item) for item in items]

    def _save(self, item: Item) -> str:
        content_type = item.content_type
        if content_type in PICTURE_EXTENSIONS:
            self._save_picture(item, PICTURE_EXTENSIONS[content_type])
            return ""
        extension = ".txt" if _chat(item, content_type) else EXTENSIONS.get(content_type, ".bin")
        source = item.source
        file = self._files.get((source, extension))
        if file is None:
            if not item.startable:
                return "no-key"
            file = self._new_file(source, extension)
        self._files.move_to_end((source, extension))
        if not file.is_open:
            self._make_room()
            file.open(self._force)
        payload = item.message.payload
        if extension == ".txt":
            text = payload.decode("utf-8", "backslashreplace").rstrip("\r\n")
            file.write(f"{escape(text)}\n".encode(), "")
        else:
            file.write(payload, _index_line(item, file.offset))
        return ""

    def _save_picture(self, item: Item, extension: str) -> None:
        stem = self._stem(item.source)
        if item.obj is not None:
            at_us, number = item.stamp("capture_us") or 0, item.obj.seq
        else:
            self._numbers[stem] += 1
            at_us, number = item.message.publish_ms * 1000, self._numbers[stem]
        name = f"{stem}-{at_us:016d}-{number:08d}{extension}"
        file = TrackFile(self.folder / name, None)
        file.open(self._force)
        try:
            file.write(item.message.payload, "")
        finally:
            file.close()

    def _new_file(self, source: str, extension: str) -> TrackFile:
        stem = self._stem(source)
        index = None if extension == ".txt" else self.folder / f"{stem}{extension}.index.jsonl"
        file = self._files[source, extension] = TrackFile(self.folder / f"{stem}{extension}", index)
        return file

    def _make_room(self) -> None:
        opened = [file for file in self._files.values() if file.is_open]
        if len(opened) >= MAX_OPEN:
            opened[0].close()

    def _stem(self, source: str) -> str:
        """A file name for a track that no other one has; never a path, never hidden."""
        stem = self._stems.get(source)
        if stem is None:
            publisher, name = split_track(source)
            text = clean_name("-".join(part for part in (publisher, name) if part)[:100])
            start = text.lstrip("-.") or "unnamed"
            taken = {other.lower() for other in self._stems.values()}
            number, stem = 1, start
            while stem.lower() in taken:
                number += 1
                stem = f"{start}-{number}"
            self._stems[source] = stem
        return stem

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()


def _chat(item: Item, content_type: str) -> bool:
    """Whether it is a line of text, also when it looks like JSON."""
    if item.foreign:
        return content_type in TEXTUAL and named_kind(item.message.topic) is Kind.CHAT
    return item.kind == "chat"


def _looks_like_key(item: Item) -> bool | None:
    """Whether decoding can start at a message that is not ours; None for a damaged one of ours."""
    if not item.foreign:
        return None
    from wtp.media.codecs import codec_of, is_start

    payload = item.message.payload
    return codec_of(item.content_type) is None or is_start(item.content_type, payload)


def _index_line(item: Item, offset: int) -> str:
    obj = item.obj
    values = {
        "seq": obj.seq if obj else None,
        "capture_us": item.stamp("capture_us"),
        "key": obj.key if obj else _looks_like_key(item),
        "offset": offset,
        "size": item.size_bytes,
        "duration_us": (obj.duration_us or None) if obj else None,
        "group": obj.group if obj else None,
        "instance": item.instance or None,
        "content_type": obj.content_type if obj else item.content_type or None,
        "attributes": dict(obj.attributes) if obj else {},
    }
    if obj is None:
        values["publish_ms"] = item.message.publish_ms
    return json.dumps(values, separators=(",", ":")) + "\n"
