"""One message on its way through the consumer: read once, never changed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from wtp.clock import monotonic_us, wall_us
from wtp.consumer.ports import Message
from wtp.errors import WireError
from wtp.model import STAMPS, Kind, Object, from_properties, inter_coded

Place = tuple[int, int, int]
"""A position as numbers that sort: ledger, entry, index in the batch (-1 without one)."""

"""Start of the content types whose objects may need earlier ones to be decoded."""


OCTETS = "application/octet-stream"
TEXTUAL = frozenset({"text/plain", "application/json"})
"""Content types whose payload is shown as text."""

MAX_GUESSED_BYTES = 64 * 1024
"""Above, a payload is no text: four times the largest chat message."""

_JPEG = b"\xff\xd8\xff"
_ANNEX_B = (b"\0\0\0\1", b"\0\0\1")
_MEDIA = frozenset({Kind.VIDEO, Kind.AUDIO, Kind.SCREEN})

PUBLISH_TO_RECEIVE = "publish -> receive (broker clock, ms)"
"""Name of the one latency that a message without stamps has: from its publish time in the topic,
in whole ms of another clock, to its arrival by the wall clock here."""


def read_place(position: str) -> Place:
    """The numbers of `ledger:entry[:batch]`."""
    parts = position.split(":")
    ledger, entry, batch = parts if len(parts) == 3 else (*parts, "-1")
    return int(ledger), int(entry), int(batch)


def startable(message: Message) -> bool:
    """Whether decoding of its track can start at a message.

    Messages that are not ours, or whose content type says that each stands alone, always can.
    """
    properties = message.properties
    if properties.get("wtp") != "1" or properties.get("key") == "1":
        return True
    return not inter_coded(properties.get("content_type", ""))


@dataclass(frozen=True, slots=True)
class Item:
    """A message with what was found out about it.

    Attributes:
        message: As it came.
        track: `<room>/<publisher>/<name>`, the message's key; may be any text or empty.
        kind: Its kind; empty when it is not ours.
        obj: The object; None when the message is not ours or damaged.
        fault: Why there is no object: `not-wtp` or `damaged`; empty when there is one.
        instance: The publisher run it comes from; empty when unknown.
        live: Whether it was published after the consumer joined: only then its arrival says
            something about latency.
        catching_up: Whether it is only needed to decode what follows: it lies between the last key
            frame and the place where reading joined.
        receive_us: When it arrived, Unix µs in the clock of its stamps; None when unknown.
        clock_error_us: Bound on the error of `receive_us` minus its capture stamp; None: unknown.
        wall_anchor_us: The wall clock minus CLOCK_MONOTONIC when it was read.
    """

    message: Message
    track: str
    kind: str
    obj: Object | None
    fault: str
    instance: str
    live: bool
    receive_us: int | None
    clock_error_us: int | None
    catching_up: bool = False
    wall_anchor_us: int = field(default_factory=lambda: wall_us() - monotonic_us())

    @property
    def size_bytes(self) -> int:
        """Bytes of its payload."""
        return len(self.message.payload)

    @property
    def startable(self) -> bool:
        """Whether decoding of its track can start here."""
        return startable(self.message)

    @property
    def foreign(self) -> bool:
        """Whether nobody of ours published it: then its content can only be guessed."""
        return self.fault == "not-wtp"

    @property
    def content_type(self) -> str:
        """Its content type without parameters, lower case; empty when unknown.

        That of a foreign message is guessed.
        """
        if self.foreign:
            return self.guessed_type
        full = self.obj.content_type if self.obj else ""
        return full.partition(";")[0].strip().lower()

    @property
    def guessed_type(self) -> str:
        """What the payload of a foreign message looks like; never empty."""
        return guess_type(self.message.payload, self.message.topic)

    @property
    def source(self) -> str:
        """Its track; of a foreign message without a key the name of its topic (`video-topic`)."""
        return self.track or (local_name(self.message.topic) if self.foreign else "")

    @property
    def publish_to_receive_us(self) -> int | None:
        """From a foreign message's publish time to its arrival in µs, across two clocks.

        None for any other message, for one from before joining, and without a publish time.
        """
        message = self.message
        if not self.foreign or not self.live or message.publish_ms <= 0:
            return None
        return self.wall_anchor_us + message.receive_monotonic_us - message.publish_ms * 1000

    @property
    def synced(self) -> bool:
        """Whether its sender's stamps are in the clock of the router's: their error is known.

        A sender that has not measured the router's clock, or not since one of the two was stepped,
        sends stamps of its own clock.
        """
        return "clock_error_us" in self.message.properties

    @property
    def latency_us(self) -> int | None:
        """Capture to receipt in µs; None when one of the two, or the sender's clock, is unknown."""
        capture_us = self.stamp("capture_us")
        if capture_us is None or self.receive_us is None or not self.synced:
            return None
        return self.receive_us - capture_us

    def stamp(self, name: str) -> int | None:
        """One of the stamps of `wtp.model.STAMPS` or `receive_us`; None when unknown."""
        if name == "receive_us":
            return self.receive_us
        value: int | None = getattr(self.obj, name) if self.obj else None
        return value


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture that was decoded, and perhaps shown.

    Attributes:
        item: Its object.
        decode_us: When it came out of the decoder, CLOCK_MONOTONIC.
        show_us: When it was on the screen; None when it was not shown.
    """

    item: Item
    decode_us: int
    show_us: int | None


def read_object(message: Message) -> tuple[Object | None, str]:
    """The object of a message and "", or None and why there is none."""
    if message.properties.get("wtp") != "1":
        return None, "not-wtp"
    try:
        return from_properties(message.properties, message.payload), ""
    except WireError:
        return None, "damaged"


def local_name(topic: str) -> str:
    """The last part of a topic's name, without the number of a partition."""
    return topic.rpartition("/")[2].partition("-partition-")[0]


def named_kind(topic: str) -> Kind | None:
    """The kind in a topic's name (`.../video`, `.../video-topic-partition-0`); None without one."""
    local = local_name(topic).removesuffix("-topic")
    return Kind(local) if local in Kind.__members__.values() else None


def guess_type(payload: bytes, topic: str) -> str:
    """The content type that a bare payload looks like.

    Args:
        payload: Its bytes: a JPEG begins with FF D8 FF (ITU-T T.81, B.1.1.3), an H.264 byte stream
            with a start code (ITU-T H.264, annex B).
        topic: Where it was: a few bytes of sound may look like text, so in a topic that is named
            after a media kind nothing is text.
    """
    if payload.startswith(_JPEG):
        return "image/jpeg"
    if payload.startswith(_ANNEX_B):
        return "video/h264"
    if not payload or len(payload) > MAX_GUESSED_BYTES or named_kind(topic) in _MEDIA:
        return OCTETS
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return OCTETS
    if not text.replace("\t", "").replace("\r", "").replace("\n", "").isprintable():
        return OCTETS
    if text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return "text/plain"
        return "application/json"
    return "text/plain"


def guess_kind(content_type: str, topic: str) -> str:
    """The kind of a bare payload: that of the topic's name, else by content; empty when unknown."""
    kind = named_kind(topic)
    if kind is None and content_type in TEXTUAL:
        kind = Kind.CHAT
    if kind is None and content_type != OCTETS:
        kind = Kind.VIDEO
    return kind.value if kind else ""


def split_track(track: str) -> tuple[str, str]:
    """Publisher and name out of `<room>/<publisher>/<name>`; what does not fit is the name."""
    parts = track.split("/")
    if len(parts) == 3:
        return parts[1], parts[2]
    return "", track


def describe(item: Item) -> dict[str, object]:
    """An item as plain values for a JSON line: all metadata and stamps, not the payload.

    A stamp or a latency that is not known is None, never 0. Text comes along for chat. Of a message
    that is not ours, kind and content type are guessed (`guessed` says so), and there is the time
    since it was published, under its full name.
    """
    obj, message = item.obj, item.message
    publisher, name = split_track(item.track)
    out: dict[str, object] = {
        "track": item.track,
        "publisher": publisher,
        "name": name,
        "kind": item.kind or None,
        "content_type": obj.content_type if obj else None,
        "seq": obj.seq if obj else None,
        "group": obj.group if obj else None,
        "key": obj.key if obj else None,
        "size": item.size_bytes,
        "instance": item.instance or None,
    }
    out.update({stamp: item.stamp(stamp) for stamp in (*STAMPS, "receive_us")})
    out["latency_us"] = item.latency_us
    out["clock_error_us"] = item.clock_error_us if item.latency_us is not None else None
    out["duration_us"] = (obj.duration_us or None) if obj else None
    out["live"] = item.live
    out["replayed"] = obj.replayed if obj else False
    out["attributes"] = dict(obj.attributes) if obj else dict(message.properties)
    out["topic"] = message.topic
    out["position"] = message.position
    out["publish_ms"] = message.publish_ms
    if item.fault:
        out["fault"] = item.fault
    if item.foreign:
        out["kind"] = guess_kind(item.guessed_type, message.topic) or None
        out["content_type"] = item.guessed_type
        out["guessed"] = True
        way_us = item.publish_to_receive_us
        out[PUBLISH_TO_RECEIVE] = None if way_us is None else round(way_us / 1000, 1)
    readable = TEXTUAL if item.foreign else ("text/plain",)
    if item.kind == "chat" or item.content_type in readable:
        out["text"] = message.payload.decode("utf-8", "replace")
    return out
