"""What the objects of a file track say: an announcement, chunks, an end. Pure.

Each file is a run of objects of its own, told apart by the attribute `file`; those of several
files and publishers may be mixed.

    part=file   payload: JSON of `Announcement`      before the first chunk, again after a restart
    part=chunk  payload: bytes of the file           attributes `index` from 0 on, `crc32c`
    part=end    payload: {"sha256": ..., "size": n}  of the whole file
    part=void   payload: {"reason": ...}             the file could not be read to its end

The SHA-256 comes last, so that a large file is read once. All chunks but the last have the size
that the announcement names, so chunk `index` begins at `index * chunk_bytes`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import google_crc32c

from wtp.errors import WireError
from wtp.model import MAX_BYTES, Kind

CONTENT_TYPE = "application/octet-stream"
FILE, PART, INDEX, CRC = "file", "part", "index", "crc32c"
"""Names of the attributes."""

MAX_CHUNKS = 1 << 22
"""Chunks of a file at most: their list of bits stays at half a MiB whatever a sender says."""
MAX_SIZE_BYTES = MAX_CHUNKS * MAX_BYTES[Kind.FILE]
"""Largest file: 4 TiB."""

_ID = re.compile(r"[0-9a-f]{32}")
_SHA = re.compile(r"[0-9a-f]{64}")
_CRC = re.compile(r"[0-9a-f]{8}")
_INDEX = re.compile(r"[0-9]{1,7}")


@dataclass(frozen=True, slots=True)
class Announcement:
    """The head of a file's manifest; the SHA-256 follows with the end.

    Attributes:
        file: Identity of the file in its track; the same when an unchanged file is sent again.
        transfer: Identity of what was sent with one command.
        name: As the sender calls it, `/` between folders; not to be trusted.
        size_bytes: Of the file.
        modified_us: When it was changed last, Unix µs.
        chunk_bytes: Size of all chunks but the last.
        folder: Whether it is an empty folder: then there are neither chunks nor an end.
        number: Its place in the transfer, from 1 on.
        files: Files of the transfer.
        total_bytes: Bytes of all files of the transfer.
    """

    file: str
    transfer: str
    name: str
    size_bytes: int
    modified_us: int
    chunk_bytes: int
    folder: bool = False
    number: int = 1
    files: int = 1
    total_bytes: int = 0

    @property
    def chunks(self) -> int:
        """Number of chunks; 0 for an empty file."""
        return -(-self.size_bytes // self.chunk_bytes)

    def size_of(self, index: int) -> int:
        """Bytes of a chunk."""
        return min(self.chunk_bytes, self.size_bytes - index * self.chunk_bytes)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file; its bytes are the object's payload."""

    file: str
    index: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class End:
    """All chunks were sent. `sha256`: of the whole file, hex; `size_bytes`: its size."""

    file: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Void:
    """No more of this file will come, because of `reason`."""

    file: str
    reason: str


Part = Announcement | Chunk | End | Void
Written = tuple[bytes, dict[str, str]]
"""Payload and attributes of an object."""


def write_announcement(one: Announcement) -> Written:
    """The object of an announcement."""
    values = asdict(one)
    return _json(values), {PART: "file", FILE: values.pop("file")}


def chunk_attributes(file: str, index: int, payload: bytes) -> dict[str, str]:
    """Attributes of the object that carries a chunk."""
    return {PART: "chunk", FILE: file, INDEX: str(index), CRC: f"{checksum(payload):08x}"}


def write_end(one: End) -> Written:
    """The object of an end."""
    return _json({"sha256": one.sha256, "size": one.size_bytes}), {PART: "end", FILE: one.file}


def write_void(one: Void) -> Written:
    """The object of a void."""
    return _json({"reason": one.reason}), {PART: "void", FILE: one.file}


def checksum(payload: bytes) -> int:
    """CRC-32C (RFC 3720, appendix B.4), at memory speed."""
    return int(google_crc32c.value(payload))


def read_part(attributes: Mapping[str, str], payload: bytes) -> Part:
    """What an object of a file track says.

    Raises:
        WireError: It is no part of a file, or a damaged one.
    """
    file = attributes.get(FILE, "")
    if not _ID.fullmatch(file):
        raise WireError("An object carries no part of a file.", code="no-part")
    match attributes.get(PART):
        case "chunk":
            return _read_chunk(file, attributes)
        case "file":
            return _read_announcement(file, _object(payload))
        case "end":
            values = _object(payload)
            sha256, size = values.get("sha256"), values.get("size")
            if not isinstance(sha256, str) or not _SHA.fullmatch(sha256):
                raise WireError("The end of a file has no SHA-256.", code="bad-part")
            return End(file, sha256, _number(size, "size", MAX_SIZE_BYTES))
        case "void":
            return Void(file, str(_object(payload).get("reason", ""))[:200])
    raise WireError("A part of a file has an unknown name.", code="no-part")


def _read_chunk(file: str, attributes: Mapping[str, str]) -> Chunk:
    index, crc = attributes.get(INDEX, ""), attributes.get(CRC, "")
    if not _INDEX.fullmatch(index) or not _CRC.fullmatch(crc):
        raise WireError("A chunk has no index or no checksum.", code="bad-part")
    return Chunk(file, int(index), int(crc, 16))


def _read_announcement(file: str, values: Mapping[str, Any]) -> Announcement:
    name, transfer, folder = (values.get(key) for key in ("name", "transfer", "folder"))
    if not isinstance(name, str) or not isinstance(transfer, str) or not _ID.fullmatch(transfer):
        raise WireError("A file is announced without a name.", code="bad-part")
    if not isinstance(folder, bool):
        raise WireError("A file is announced that may be a folder.", code="bad-part")
    most = {
        "size_bytes": MAX_SIZE_BYTES,
        "modified_us": 1 << 62,
        "chunk_bytes": MAX_BYTES[Kind.FILE],
        "number": 1 << 31,
        "files": 1 << 31,
        "total_bytes": 1 << 62,
    }
    numbers = {key: _number(values.get(key), key, limit) for key, limit in most.items()}
    found = Announcement(
        file=file, transfer=transfer, name=name, folder=folder,
        **{**numbers, "chunk_bytes": max(1, numbers["chunk_bytes"])},
    )  # fmt: skip
    if found.chunks > MAX_CHUNKS or (folder and found.size_bytes):
        raise WireError("A file is announced with too many chunks.", code="bad-part")
    return found


def _number(value: object, what: str, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise WireError(f"A part of a file has no usable {what}.", code="bad-part")
    return value


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def _object(payload: bytes) -> dict[str, Any]:
    try:
        values = json.loads(payload.decode())
    except (ValueError, RecursionError) as error:
        raise WireError("A part of a file is not JSON.", code="bad-part") from error
    if not isinstance(values, dict):
        raise WireError("A part of a file is no JSON object.", code="bad-part")
    return values
