"""One message on its way through the consumer: read once, never changed."""

from __future__ import annotations

from dataclasses import dataclass

from wtp.consumer.ports import Message
from wtp.errors import WireError
from wtp.model import STAMPS, Object, from_properties

Place = tuple[int, int, int]
"""A position as numbers that sort: ledger, entry, index in the batch (-1 without one)."""

INTER_CODED = "video/"
"""Start of the content types whose objects may need earlier ones to be decoded."""


def read_place(position: str) -> Place:
    """The numbers of `ledger:entry[:batch]`."""
    ledger, entry, *batch = (int(part) for part in position.split(":"))
    return ledger, entry, batch[0] if batch else -1


def startable(message: Message) -> bool:
    """Whether decoding of its track can start at a message.

    Messages that are not ours, or whose content type says that each stands alone, always can.
    """
    properties = message.properties
    if properties.get("wtp") != "1" or properties.get("key") == "1":
        return True
    return not properties.get("content_type", "").startswith(INTER_CODED)


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
        receive_us: When it arrived, Unix µs in the clock of its stamps; None when unknown.
        clock_error_us: Bound on the error of `receive_us` minus its capture stamp; None: unknown.
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

    @property
    def size_bytes(self) -> int:
        """Bytes of its payload."""
        return len(self.message.payload)

    @property
    def startable(self) -> bool:
        """Whether decoding of its track can start here."""
        return startable(self.message)

    @property
    def content_type(self) -> str:
        """Its content type without parameters, lower case; empty when unknown."""
        full = self.obj.content_type if self.obj else ""
        return full.partition(";")[0].strip().lower()

    @property
    def latency_us(self) -> int | None:
        """Capture to receipt in µs; None when one of the two is unknown."""
        capture_us = self.stamp("capture_us")
        if capture_us is None or self.receive_us is None:
            return None
        return self.receive_us - capture_us

    def stamp(self, name: str) -> int | None:
        """One of the stamps of `wtp.model.STAMPS` or `receive_us`; None when unknown."""
        if name == "receive_us":
            return self.receive_us
        value: int | None = getattr(self.obj, name) if self.obj else None
        return value


def read_object(message: Message) -> tuple[Object | None, str]:
    """The object of a message and "", or None and why there is none."""
    if message.properties.get("wtp") != "1":
        return None, "not-wtp"
    try:
        return from_properties(message.properties, message.payload), ""
    except WireError:
        return None, "damaged"


def split_track(track: str) -> tuple[str, str]:
    """Publisher and name out of `<room>/<publisher>/<name>`; what does not fit is the name."""
    parts = track.split("/")
    if len(parts) == 3:
        return parts[1], parts[2]
    return "", track


def describe(item: Item) -> dict[str, object]:
    """An item as plain values for a JSON line: all metadata and stamps, not the payload.

    A stamp or a latency that is not known is None, never 0. Text comes along for chat.
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
    if item.kind == "chat" or item.content_type == "text/plain":
        out["text"] = message.payload.decode("utf-8", "replace")
    return out
