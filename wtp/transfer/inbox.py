"""The receiving end: parts of files in any mixture go in, whole and verified files come out.

A file stays apart, in the hidden folder, until all its chunks are there and its SHA-256 fits. What
is missing then is named; publishing the file again fills it in, and nothing is written twice.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from wtp.errors import StorageError, UsageError, WireError
from wtp.transfer.faults import writing
from wtp.transfer.incoming import Incoming, Rate, alike, listed
from wtp.transfer.names import Names, clean_path, shown
from wtp.transfer.partfile import PartFile
from wtp.transfer.parts import Announcement, Chunk, End, Void, checksum, read_part
from wtp.transfer.placing import Place
from wtp.transfer.records import Coming, Records

MAX_COMING = 1000
"""Files that may be unfinished at once; more are refused. Each costs up to half a MiB."""
MAX_SETTLED = 20_000
"""Files that are refused or here already and whose chunks are known as theirs."""
MAX_OPEN = 32
"""Unfinished files that are open at a time."""
SHOWN_FILES = 8

NO_PART, BAD_PART, NOT_ANNOUNCED, DAMAGED = "no-part", "bad-part", "not-announced", "damaged"
HERE_ALREADY, REFUSED = "here-already", "refused-file"
"""Why an object was left out: it carries no part of a file; its manifest or attributes make no
sense; its file was not announced; its checksum does not fit; its chunk or file is here already;
its file was refused."""

_log = logging.getLogger(__name__)


class Inbox:
    """Receives files into a folder. Every call but `figures` blocks: for one thread.

    Args:
        folder: Where they go; is made.
        force: Whether files that are there may be replaced.

    Attributes:
        received: Files that were put in their place.
        here: Files that were here already.
        refused: Files that were not taken.
        void: Files whose sender could not read them to their end.
    """

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        self.folder = folder
        self.received = self.here = self.refused = self.void = 0
        self._place = Place(folder, force=force)
        self._records = Records(folder)
        self._coming: dict[str, Incoming] = {}
        self._settled: OrderedDict[str, Incoming] = OrderedDict()
        self._open: OrderedDict[str, PartFile] = OrderedDict()
        self._claims: dict[Names, str] = {}
        self._told: set[str] = set()
        self._rate = Rate()
        self._figures: dict[str, Any] = {}
        self.note()

    @property
    def settled(self) -> int:
        """Files that came to an end: received, here already, or refused."""
        return self.received + self.here + self.refused

    def open(self) -> None:
        """Make the folder ready and take up what an earlier run left.

        Raises:
            StorageError: It cannot be written, or another process receives here.
        """
        with writing(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._records.open()
        self._place.open()
        for key, about in self._records.unfinished():
            part = PartFile(self._records.stem(key), about.announcement)
            file = self._coming[key] = Incoming(key, about, part)
            self._claims[file.place] = key
            _log.info("%s goes on: %s.", file.name, file.progress())
            self._finish(file)
        self.note()

    def close(self) -> None:
        """Close everything; what is unfinished stays and goes on in the next run."""
        self.note()
        for part in self._open.values():
            part.close()
        self._open.clear()
        self._place.close()
        self._records.close()

    def take(self, track: str, run: str, attributes: Mapping[str, str], payload: bytes) -> str:
        """Take one object.

        Args:
            track: Its full track: files of two publishers never mix.
            run: The publisher run it comes from.
            attributes: Its own strings.
            payload: Its bytes.

        Returns:
            "" when it was taken, else why it was left out.

        Raises:
            StorageError: The disk is full or cannot be written; what is there is kept.
        """
        try:
            part = read_part(attributes, payload)
        except WireError as error:
            self._tell(f"{error.code} {track}", f"{shown(track)}: {error.message}")
            return NO_PART if error.code == NO_PART else BAD_PART
        key = hashlib.sha256(f"{track}\n{part.file}".encode()).hexdigest()[:32]
        match part:
            case Announcement():
                reason = self._announce(key, track, run, part)
            case Chunk():
                reason = self._chunk(key, track, part, payload)
            case End():
                reason = self._end(key, part)
            case Void():
                reason = self._voided(key, part)
        self.note(often=isinstance(part, Chunk))
        return reason

    def figures(self) -> dict[str, Any]:
        """How far it is; from any thread. See `wtp.ui.transfer`."""
        return self._figures

    def unfinished(self) -> Iterator[str]:
        """A sentence for each file that is not whole."""
        for file in self._coming.values():
            if file.part is not None:
                yield f"{file.name} is not whole: {file.progress()}."

    # What comes

    def _announce(self, key: str, track: str, run: str, one: Announcement) -> str:
        known = self._coming.get(key) or self._settled.get(key)
        if known is not None and alike(known.about.announcement, one):
            if known.part is not None or known.about.run == run:
                self._taken_up(known, run)
                return known.reason if known.part is None else ""
        elif known is not None:
            self._drop(known)
        try:
            file = Incoming(key, Coming(track, run, one, clean_path(one.name)))
        except WireError as error:
            return self._refuse(Incoming(key, Coming(track, run, one, ())), error)
        if self._is_here(file):
            self.here += 1
            self._settle(file, HERE_ALREADY)
            return HERE_ALREADY
        try:
            if one.folder:
                self._place.make(file.about.names)
                self.received += 1
                self._settle(file, HERE_ALREADY)
                return ""
            self._claim(file)
        except (UsageError, StorageError) as error:
            if not _about_the_name(error):
                raise
            return self._refuse(file, error)
        self._records.coming(key, file.about)
        file.part = PartFile(self._records.stem(key), one)
        self._coming[key] = file
        return ""

    def _chunk(self, key: str, track: str, chunk: Chunk, payload: bytes) -> str:
        file = self._coming.get(key)
        if file is None or file.part is None:
            settled = self._settled.get(key)
            if settled is None:
                self._tell(
                    f"{NOT_ANNOUNCED} {key}",
                    f"{shown(track)} sends a file whose beginning is not in the topic any more; "
                    "publish it again.",
                )
            return settled.reason if settled else NOT_ANNOUNCED
        one, part = file.about.announcement, file.part
        if chunk.index >= one.chunks or len(payload) != one.size_of(chunk.index):
            self._tell(f"{BAD_PART} {key}", f"{file.name}: a chunk does not fit the file.")
            return BAD_PART
        if part.has(chunk.index):
            return HERE_ALREADY
        if checksum(payload) != chunk.crc32c:
            sentence = f"{file.name}: chunk {chunk.index} is damaged and was left out."
            self._tell(f"{DAMAGED} {key} {chunk.index}", sentence)
            return DAMAGED
        self._use(key, part)
        part.add(chunk.index, chunk.crc32c, payload)
        self._rate.total += len(payload)
        if file.about.sha256:
            self._finish(file)
        return ""

    def _end(self, key: str, end: End) -> str:
        file = self._coming.get(key)
        if file is None or file.part is None:
            return self._settled[key].reason if key in self._settled else NOT_ANNOUNCED
        if end.size_bytes != file.about.announcement.size_bytes:
            return BAD_PART
        news = file.about.sha256 != end.sha256
        file.about = replace(file.about, sha256=end.sha256)
        if news and file.about.announcement.chunks > 1:  # one chunk comes again with its end
            self._records.coming(key, file.about)
        self._finish(file)
        if key in self._coming:
            _log.warning("%s is not whole: %s. Publish it again to fill it in.",
                         file.name, file.progress())  # fmt: skip
        return ""

    def _voided(self, key: str, void: Void) -> str:
        file = self._coming.get(key)
        if file is None:
            return NOT_ANNOUNCED
        self.void += 1
        _log.warning("%s was given up by its sender: %s", file.name, shown(void.reason))
        self._drop(file)
        return ""

    # What becomes of it

    def _finish(self, file: Incoming) -> None:
        """Verify a file whose chunks are all there, and put it in its place."""
        part, about = file.part, file.about
        if part is None or not part.whole or not about.sha256:
            return
        self._use(file.key, part)
        if not part.check(about.sha256):
            bad = part.weed()
            if bad:
                _log.warning("%s: chunk %s was damaged on this disk.", file.name, listed(bad))
            else:
                part.forget()
                file.about = replace(about, sha256="")  # the next end may be the right one
                self._records.coming(file.key, file.about)
                _log.warning("%s does not match its SHA-256; nothing of it is kept.", file.name)
            return
        try:
            self._place.put(part.ready(), about.names)
        except (UsageError, StorageError) as error:
            if not _about_the_name(error):
                raise
            self._drop(file)
            self._refuse(file, error)
            return
        self._records.received(file.key, about.run)
        self.received += 1
        self._drop(file)
        self._settle(file, HERE_ALREADY)
        _log.info("%s received and verified.", file.name)

    def _is_here(self, file: Incoming) -> bool:
        """Whether this very file was received: by this run, or it lies there unchanged."""
        run = self._records.received_in(file.key)
        if run is None:
            return False
        one = file.about.announcement
        if run == file.about.run:
            return True
        return self._place.size_and_time(file.about.names) == (one.size_bytes, one.modified_us)

    def _taken_up(self, file: Incoming, run: str) -> None:
        """A later run goes on with a file."""
        if file.part is not None and file.about.run != run:
            file.about = replace(file.about, run=run)
            self._records.coming(file.key, file.about)

    def _claim(self, file: Incoming) -> None:
        """Take a place in the folder for a file.

        Raises:
            UsageError: It is taken, or there are too many unfinished files.
            StorageError: The way there leads over a link.
        """
        names = file.about.names
        other = self._claims.get(file.place)
        if other is not None and other != file.key:
            raise UsageError(
                f"{file.name} is being received from another publisher or path.",
                hint="Give one of them another name.",
            )
        if len(self._coming) >= MAX_COMING:
            raise UsageError(
                f"{MAX_COMING} files are not whole.", hint="Publish those again, or remove them."
            )
        self._place.check(names)
        self._claims[file.place] = file.key

    def _refuse(self, file: Incoming, error: WireError | UsageError | StorageError) -> str:
        self.refused += 1
        self._settle(file, REFUSED)
        _log.warning("Not received: %s", error)
        return REFUSED

    def _settle(self, file: Incoming, reason: str) -> None:
        file.part, file.reason = None, reason
        self._settled[file.key] = file
        if len(self._settled) > MAX_SETTLED:
            self._settled.popitem(last=False)

    def _drop(self, file: Incoming) -> None:
        """Forget a file and remove what there is of it."""
        self._coming.pop(file.key, None)
        self._settled.pop(file.key, None)
        self._open.pop(file.key, None)
        if self._claims.get(file.place) == file.key:
            del self._claims[file.place]
        if file.part is not None:
            file.part.remove()

    def _use(self, key: str, part: PartFile) -> None:
        self._open[key] = part
        self._open.move_to_end(key)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)[1].close()

    def _tell(self, once: str, sentence: str) -> None:
        if once not in self._told and len(self._told) < MAX_SETTLED:
            self._told.add(once)
            _log.warning("%s", sentence)

    def note(self, *, often: bool = False) -> None:
        """Make the figures anew, when it is done `often` only from time to time."""
        if often and not self._rate.due():
            return
        latest = islice(dict.fromkeys((*reversed(self._open), *self._coming)), SHOWN_FILES)
        self._figures = {
            "folder": str(self.folder),
            "received": self.received,
            "here": self.here,
            "refused": self.refused,
            "void": self.void,
            "unfinished": len(self._coming),
            "bytes": self._rate.total,
            "bytes_per_s": self._rate.per_second(),
            "files": [self._coming[key].figures() for key in latest if key in self._coming],
        }


def _about_the_name(error: UsageError | StorageError) -> bool:
    """Whether a file is refused for its name: others may still be received."""
    return isinstance(error, UsageError) or error.code == "file-name"
