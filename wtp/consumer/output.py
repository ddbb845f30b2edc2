"""Where received objects go: nowhere (statistics), lines of text, or bare bytes."""

from __future__ import annotations

import errno
import json
import os
import select
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from wtp.consumer.item import Item, Seen, describe
from wtp.errors import StorageError, UsageError
from wtp.model import STAMPS

STALE_US = 3_000_000
"""A track that is silent for so long makes room for another one in a bare byte stream."""

CSV_COLUMNS = (
    "track", "kind", "content_type", "seq", "group", "key", "size", "instance", *STAMPS,
    "receive_us", "latency_us", "clock_error_us", "duration_us", "live", "position",
)  # fmt: skip

_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}
"""Direction marks: they let text look like other text (Unicode TR 36, section 2.10)."""


class Output(Protocol):
    """Takes objects; called by one thread, or on the loop when `inline`.

    Attributes:
        inline: Whether no call ever blocks.
        lossless: Whether a slow output holds reading up, also live, rather than lose objects.
        idle_s: How often `idle` is to be called while nothing comes; 0 for never.
    """

    inline: bool
    lossless: bool
    idle_s: float

    def open(self) -> None:
        """Make ready; raises when it cannot work."""
        ...

    def take(self, items: Sequence[Item]) -> list[str]:
        """Take objects.

        Returns:
            For each "" when it was taken, else why it was left out.

        Raises:
            StorageError: It cannot be written.
            BrokenPipeError: The reader has gone.
            Finished: No more is wanted.
        """
        ...

    def idle(self) -> None:
        """Do what is due while nothing comes."""
        ...

    def close(self) -> None:
        """Finish; may be called when `open` failed."""
        ...


def figures_of(output: Output) -> dict[str, Any] | None:
    """What an output tells about itself beside the objects it took; None when it has nothing to.

    An output that has something gives it as plain values by a method `snapshot` or `figures`, which
    may be called from any thread.
    """
    tell = getattr(output, "snapshot", None) or getattr(output, "figures", None)
    return dict(tell()) if tell is not None else None


def seen_by(output: Output) -> list[Seen]:
    """What the last `take` of an output has decoded and shown; it tells by a method `seen`."""
    tell: Callable[[], list[Seen]] | None = getattr(output, "seen", None)
    return [] if tell is None else tell()


class Finished(Exception):
    """An output wants no more."""


class Nowhere:
    """Takes everything: statistics are all that is wanted."""

    inline = True
    lossless = False
    idle_s = 0.0

    def open(self) -> None:
        """Nothing to do."""

    def take(self, items: Sequence[Item]) -> list[str]:
        """Take objects."""
        return [""] * len(items)

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class Sink:
    """Bytes to a file descriptor or a file, unbuffered, with errors translated.

    Unbuffered because a write that hangs must not hold a lock that the interpreter wants at exit.

    Args:
        target: `-` for standard output, else a path.
        force: Whether a file that exists may be replaced.
        binary: Whether what comes is no text: refused on a terminal.
    """

    def __init__(self, target: str, *, force: bool = False, binary: bool = False) -> None:
        self.target = target
        self._force, self._binary = force, binary
        self._descriptor = -1

    @property
    def _name(self) -> str:
        return "standard output" if self.target == "-" else self.target

    def open(self) -> None:
        """Open it.

        Raises:
            UsageError: Binary to a terminal, or the file exists.
            StorageError: It cannot be opened.
        """
        if self.target == "-":
            self._descriptor = 1
            if self._binary and os.isatty(1):
                raise UsageError(
                    "Binary data does not go to a terminal.",
                    hint="Pipe it (--raw - | ffplay -), or give a file: --raw PATH.",
                )
            return
        self._descriptor = open_new(Path(self.target), force=self._force)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        rest = memoryview(data)
        with storage(self._name):
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:  # somebody shares the pipe and made it non-blocking
                    select.select([], [self._descriptor], [])

    def close(self) -> None:
        """Close it, unless it is standard output."""
        if self._descriptor > 2:
            os.close(self._descriptor)
        self._descriptor = -1


@contextmanager
def storage(name: str) -> Iterator[None]:
    """Translate what the operating system says about a file; a broken pipe stays one."""
    try:
        yield
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise UsageError(
            f"{name} is already there.", hint="Choose another name, or --force to replace it."
        ) from error
    except OSError as error:
        hint = "Check the path and its access rights."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Free some space, or write elsewhere; what was written before stays."
        raise StorageError(f"{name}: {error.strerror or error}.", hint=hint) from error


def open_new(path: Path, *, force: bool) -> int:
    """Open a file for writing from its start; a pipe or device is opened as it is.

    Returns:
        The file descriptor.

    Raises:
        UsageError: It exists and `force` is false.
        StorageError: It cannot be opened.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC
    with storage(str(path)):
        try:
            special = not stat.S_ISREG(path.stat().st_mode)
        except FileNotFoundError:
            special = False
        if not special:
            flags |= os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        return os.open(path, flags, 0o644)


class Lines:
    """One line of text per object.

    Args:
        form: Makes the line, without its end; None leaves the object out.
        sink: Where lines go.
        head: A first line; empty for none.
    """

    inline = False
    lossless = False
    idle_s = 0.0

    def __init__(self, form: Callable[[Item], str], sink: Sink, head: str = "") -> None:
        self._form, self._sink, self._head = form, sink, head

    def open(self) -> None:
        """Open the sink and write the head."""
        self._sink.open()
        if self._head:
            self._sink.write(f"{self._head}\n".encode())

    def take(self, items: Sequence[Item]) -> list[str]:
        """Write a line for each."""
        text = "".join(f"{self._form(item)}\n" for item in items)
        self._sink.write(text.encode("utf-8", "backslashreplace"))
        return [""] * len(items)

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


def json_line(item: Item) -> str:
    """An object as JSON, in ASCII: a terminal shows it without harm."""
    return json.dumps(describe(item), separators=(",", ":"))


def csv_line(item: Item) -> str:
    """An object as comma-separated values, in the order of `CSV_COLUMNS`."""
    values = describe(item)
    return ",".join(_csv_field(values[column]) for column in CSV_COLUMNS)


def _csv_field(value: object) -> str:
    if value is None:
        return ""
    text = str(int(value)) if isinstance(value, bool) else escape(str(value))
    if any(c in text for c in ',"'):
        text = '"' + text.replace('"', '""') + '"'
    return text


def escape(text: str) -> str:
    r"""Text with control characters, direction marks and stray surrogates written as `\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if _steers(c) else c for c in text)


def _steers(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Zl", "Zp") or ord(character) in _BIDI


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class Raw:
    """Payloads one behind the other, nothing else.

    Pictures and sound of several tracks would be of no use in one stream: it follows one track, and
    turns to another when that falls silent. Pictures begin at a key frame.

    Args:
        sink: Where they go.
        lossless: Whether a slow reader holds reading up.
    """

    inline = False
    idle_s = 0.0

    def __init__(self, sink: Sink, *, lossless: bool) -> None:
        self.lossless = lossless
        self._sink = sink
        self._track: str | None = None
        self._last_us = 0

    def open(self) -> None:
        """Open the sink."""
        self._sink.open()

    def take(self, items: Sequence[Item]) -> list[str]:
        """Write their payloads."""
        reasons = [self._refuse(item) for item in items]
        wanted = [item.message.payload for item, no in zip(items, reasons, strict=True) if not no]
        self._sink.write(b"".join(wanted))
        return reasons

    def _refuse(self, item: Item) -> str:
        """Why an object is left out; "" when it is not."""
        if item.kind not in ("video", "audio", "screen"):
            return ""
        at_us = item.message.receive_monotonic_us
        if item.track == self._track:
            self._last_us = at_us
            return ""
        if self._track is not None and at_us - self._last_us < STALE_US:
            return "other-track"
        if not item.startable:
            return "no-key"
        self._track, self._last_us = item.track, at_us
        return ""

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()
