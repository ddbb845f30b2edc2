"""The nouns that every part shares: kind, track, object. Pure values, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from wtp.errors import UsageError, WireError

NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a room, publisher or track name may be made of."""

STAMPS = ("capture_us", "encode_us", "send_us", "route_us", "process_us", "publish_us")
"""Names of the stamps that travel with an object, in the order they are taken."""

WORKER_STAMPS = ("broker_us", "processor_us")
"""Properties of what a topic processor made, between `route_us` and `process_us`: when its input
was handed to the broker, and when the processor had it."""

EMPTY: Mapping[str, str] = {}


class Kind(StrEnum):
    """What a track carries."""

    VIDEO = "video"
    AUDIO = "audio"
    CHAT = "chat"
    SCREEN = "screen"
    FILE = "file"
    DATA = "data"

    @property
    def reliable(self) -> bool:
        """Whether every object counts (chat, file, data) or the newest (video, audio, screen)."""
        return self in _RELIABLE

    @property
    def max_bytes(self) -> int:
        """Largest payload of one object, in bytes."""
        return MAX_BYTES[self]


_RELIABLE = frozenset({Kind.CHAT, Kind.FILE, Kind.DATA})
_MIB = 1024 * 1024
MAX_BYTES: Mapping[Kind, int] = {
    Kind.VIDEO: 4 * _MIB,
    Kind.AUDIO: 4 * _MIB,
    Kind.SCREEN: 4 * _MIB,
    Kind.CHAT: 16 * 1024,
    Kind.FILE: _MIB,
    Kind.DATA: _MIB,
}
"""Largest payload of one object by kind, in bytes."""


def inter_coded(content_type: str) -> bool:
    """Whether objects of a content type may need earlier ones of their group to be decoded."""
    return content_type.startswith("video/")


def check_name(what: str, name: str) -> str:
    """Return `name` when it may stand for a room, publisher or track.

    Args:
        what: The word for it in the error: "room", "publisher" or "track".
        name: The name to check.

    Raises:
        UsageError: It has other characters than `A-Z a-z 0-9 . _ -`, is empty, is longer than 64,
            or is a room named like a kind.
    """
    if not NAME_PATTERN.fullmatch(name) or name in {".", ".."}:
        raise UsageError(
            f"{what} name {name!r} is not allowed.",
            hint="Use 1 to 64 of the characters A-Z a-z 0-9 . _ -",
        )
    if what == "room" and name in Kind.__members__.values():
        raise UsageError(f"A room cannot be named like a kind ({name}).", hint="Choose another.")
    return name


def clean_name(text: str) -> str:
    """Turn any text (a host name, say) into a legal name; never empty."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:64].strip(".") or "unnamed"


@dataclass(frozen=True, slots=True)
class Track:
    """The full name of a track: `<room>/<publisher>/<name>`."""

    room: str
    publisher: str
    name: str

    def __str__(self) -> str:
        return f"{self.room}/{self.publisher}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Track:
        """Read `<room>/<publisher>/<name>`.

        Raises:
            UsageError: Not three legal names.
        """
        parts = text.split("/")
        if len(parts) != 3:
            raise UsageError(f"{text!r} is not a track.", hint="Write room/publisher/name.")
        room, publisher, name = parts
        return cls(
            check_name("room", room), check_name("publisher", publisher), check_name("track", name)
        )


@dataclass(frozen=True, slots=True)
class Object:
    """One encoded unit of a track, immutable; the one unit type from end to end.

    Attributes:
        kind: What it is.
        seq: Position in its track, counted from 1 for reliable kinds.
        group: Number of its group; a group can be decoded from its first object on.
        key: Whether decoding can start here.
        payload: The encoded bytes, exactly as they go to Pulsar.
        capture_us: When it was captured, Unix µs, or None when unknown; likewise `encode_us`,
            `send_us`, `route_us`, `process_us` (it came back from a processor; None without one)
            and `publish_us` for the later hops.
        duration_us: How long it lasts in µs, 0 when it does not say.
        content_type: How to decode it, e.g. `video/h264`.
        attributes: The kind's own strings (file chunk index, chat author, ...).
        replayed: Whether it comes from the past of a room.
    """

    kind: Kind
    seq: int
    group: int
    key: bool
    payload: bytes
    capture_us: int | None = None
    encode_us: int | None = None
    send_us: int | None = None
    route_us: int | None = None
    process_us: int | None = None
    publish_us: int | None = None
    duration_us: int = 0
    content_type: str = ""
    attributes: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    replayed: bool = False


def to_properties(
    obj: Object, instance: str, clock: str, clock_error_us: int | None
) -> dict[str, str]:
    """Metadata of an object as Pulsar message properties.

    Args:
        obj: The object.
        instance: The publisher run it comes from; empty when unknown.
        clock: `<boot_id>:<anchor_us>` of the router whose clock the stamps are in.
        clock_error_us: Bound on the stamps' error in µs; None when unknown.

    Returns:
        Strings only. A missing stamp is a missing property.
    """
    out = {
        **obj.attributes,
        "wtp": "1",
        "kind": obj.kind.value,
        "content_type": obj.content_type,
        "seq": str(obj.seq),
        "group": str(obj.group),
        "key": "1" if obj.key else "0",
        "clock": clock,
    }
    if instance:
        out["instance"] = instance
    if obj.capture_us is not None:  # one by one: a loop over names takes twice as long
        out["capture_us"] = str(obj.capture_us)
    if obj.encode_us is not None:
        out["encode_us"] = str(obj.encode_us)
    if obj.send_us is not None:
        out["send_us"] = str(obj.send_us)
    if obj.route_us is not None:
        out["route_us"] = str(obj.route_us)
    if obj.process_us is not None:
        out["process_us"] = str(obj.process_us)
    if obj.publish_us is not None:
        out["publish_us"] = str(obj.publish_us)
    if obj.duration_us:
        out["duration_us"] = str(obj.duration_us)
    if clock_error_us is not None:
        out["clock_error_us"] = str(clock_error_us)
    if obj.replayed:
        out["replayed"] = "1"
    return out


RESERVED = frozenset(
    {*STAMPS, *WORKER_STAMPS, "wtp", "kind", "content_type", "seq", "instance", "group", "key"}
    | {"duration_us", "clock", "clock_error_us", "replayed"}
)
"""Property names that an object's own attributes may not use."""


_INTEGER = re.compile(r"-?[0-9]{1,20}")
_INT64 = (-(2**63), 2**63 - 1)
_UINT64 = (0, 2**64 - 1)


def _number(text: str, limits: tuple[int, int]) -> int:
    """An integer in plain decimal digits (`int` would take `1_0`, spaces and Arabic digits)."""
    if not _INTEGER.fullmatch(text) or not limits[0] <= int(text) <= limits[1]:
        raise ValueError(f"{text[:40]!r} is no number of its range")
    return int(text)


def from_properties(properties: Mapping[str, str], payload: bytes) -> Object:
    """Read an object back from a Pulsar message of ours.

    Raises:
        WireError: The properties are not those of a wtp object (no `wtp=1`, an unknown kind, a
            number that is none or does not fit 64 bits).
    """
    if properties.get("wtp") != "1":
        raise WireError("The message carries no wtp=1 property.", code="not-wtp")
    try:
        stamps = {name: _number(properties[name], _INT64) for name in STAMPS if name in properties}
        return Object(
            kind=Kind(properties["kind"]),
            seq=_number(properties["seq"], _UINT64),
            group=_number(properties["group"], _UINT64),
            key=properties["key"] == "1",
            payload=payload,
            duration_us=_number(properties.get("duration_us", "0"), _UINT64),
            content_type=properties.get("content_type", ""),
            attributes={k: v for k, v in properties.items() if k not in RESERVED},
            replayed=properties.get("replayed") == "1",
            **stamps,
        )
    except (KeyError, ValueError) as error:
        raise WireError(f"The message's wtp properties are damaged: {error}.") from error
