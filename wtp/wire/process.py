"""Objects between a router and an HTTP processor: headers and bodies in, values out, no I/O.

    POST /process, data_format binary
        body                    the payload
        Content-Type            the object's content type
        WTP-Track               room/publisher/name; its presence says that the form is binary
        WTP-Capture-Us, ...     a header per property (`wtp.model.to_properties`)
        WTP-Attributes          the object's own attributes as one JSON object in ASCII

    POST /process, data_format json (Content-Type application/json, no WTP-Track)
        {"track": t, "properties": {...}, "payload": base64}, with "text" beside it for text/*

    answer 200                  one processed object in the form of the request; what it does not
                                say is as in the input (a header, a property, the track)
    answer 200, several         Content-Type application/x-wtp-objects: repeated u32 length of a
                                JSON object {"track", "properties"}, the JSON, u32 length of the
                                payload, the payload (both big-endian); in JSON {"objects": [...]}
    answer 204                  nothing to publish; `WTP-Published: n`: published n objects itself
    answer 400, 413, 415        the object is refused for good
    answer 422                  user code failed on it, {"error": sentence}; not to be tried again
    answer 5xx                  to be tried again; 503 with Retry-After when overloaded

An attribute list in an answer replaces the input's as a whole; none leaves it as it was.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wtp.errors import UsageError, WireError
from wtp.model import RESERVED, Object, Track, from_properties

PATH = "/process"
OBJECTS_TYPE = "application/x-wtp-objects"
JSON_TYPE = "application/json"
PUBLISHED = "WTP-Published"

MOST_OBJECTS = 256
"""Objects in one answer at most."""

MAX_META_BYTES = 64 * 1024
"""Largest JSON head of an object in an answer of several."""

ROOM_FOR_HEADS_BYTES = 256 * 1024
"""What a body may hold beside payloads."""

_OCTETS = "application/octet-stream"
_HEADERS = {
    name: "WTP-" + name.replace("_", "-").title() for name in sorted(RESERVED - {"content_type"})
}
_PROPERTIES = {header.lower(): name for name, header in _HEADERS.items()}
_LENGTH = struct.Struct("!I")

Format = Literal["binary", "json"]


@dataclass(frozen=True, slots=True)
class Parcel:
    """An object with its track and its properties, as router and processor exchange it.

    Attributes:
        track: `room/publisher/name`.
        properties: As `wtp.model.to_properties` makes them: reserved names and attributes.
        payload: The encoded bytes.
    """

    track: str
    properties: Mapping[str, str]
    payload: bytes

    @property
    def attributes(self) -> dict[str, str]:
        """The object's own strings."""
        return {k: v for k, v in self.properties.items() if k not in RESERVED}

    def object(self) -> Object:
        """The object.

        Raises:
            WireError: The track or the properties are damaged, or (code `too-large`) the payload
                is larger than its kind allows.
        """
        try:
            Track.parse(self.track)
        except UsageError as error:
            raise WireError(error.message, hint=error.hint, code="track") from error
        obj = from_properties(self.properties, self.payload)
        if len(self.payload) > obj.kind.max_bytes:
            raise WireError(
                f"A {obj.kind} object of {len(self.payload)} bytes is over {obj.kind.max_bytes}.",
                code="too-large",
            )
        return obj


def encode_one(parcel: Parcel, data_format: Format) -> tuple[dict[str, str], bytes]:
    """A request, or an answer of one object: its headers and its body."""
    if data_format == "json":
        return {"Content-Type": JSON_TYPE}, _dump(_as_json(parcel))
    headers = {"Content-Type": _OCTETS, "WTP-Track": parcel.track}
    extra = {}
    for name, value in parcel.properties.items():
        if name in _HEADERS and _fits_header(value):
            headers[_HEADERS[name]] = value
        elif name != "content_type":
            extra[name] = value
    content_type = parcel.properties.get("content_type", "")
    if _fits_header(content_type) and content_type != _OCTETS:
        headers["Content-Type"] = content_type
    else:  # an answer's plain octet-stream stands for "as it was"
        extra["content_type"] = content_type
    headers["WTP-Attributes"] = json.dumps(extra, separators=(",", ":"))
    return headers, parcel.payload


def encode_several(parcels: Sequence[Parcel], data_format: Format) -> tuple[dict[str, str], bytes]:
    """An answer of any number of objects: its headers and its body."""
    if data_format == "json":
        body = _dump({"objects": [_as_json(parcel) for parcel in parcels]})
        return {"Content-Type": JSON_TYPE}, body
    parts = []
    for parcel in parcels:
        meta = _dump({"track": parcel.track, "properties": dict(parcel.properties)})
        parts += [_LENGTH.pack(len(meta)), meta, _LENGTH.pack(len(parcel.payload)), parcel.payload]
    return {"Content-Type": OBJECTS_TYPE}, b"".join(parts)


def form_of(headers: Mapping[str, str]) -> Format:
    """The form of a request.

    Raises:
        WireError: `code` is `media-type`: it is in neither.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if "wtp-track" in lower:
        return "binary"
    if _media_type(lower.get("content-type", "")) == JSON_TYPE:
        return "json"
    raise WireError(
        "The request is neither JSON nor does it carry a WTP-Track header.",
        hint='Send WTP-Track: room/publisher/name, or JSON {"track", "properties", "payload"}.',
        code="media-type",
    )


def decode_request(headers: Mapping[str, str], body: bytes) -> Parcel:
    """Read a request of either form.

    Raises:
        WireError: It is damaged; `code` is `media-type` when it is in neither form.
    """
    nothing = Parcel("", {}, b"")
    if form_of(headers) == "json":
        return _from_json(_load(body), nothing)
    return _from_headers(headers, body, nothing)


def decode_answer(
    headers: Mapping[str, str], body: bytes, sent: Parcel, data_format: Format
) -> list[Parcel]:
    """Read an answer of status 200.

    Args:
        headers: The answer's.
        body: The answer's.
        sent: What was asked; the answer inherits what it does not say.
        data_format: The form of the request.

    Raises:
        WireError: It is damaged.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if data_format == "binary":
        if _media_type(lower.get("content-type", "")) == OBJECTS_TYPE:
            return _split(body, sent)
        return [_from_headers(lower, body, sent)]
    found = _load(body)
    if "objects" not in found:
        return [_from_json(found, sent)]
    objects = found["objects"]
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise WireError('"objects" of a processor\'s answer is no list of objects.', code="answer")
    _check_count(len(objects))
    return [_from_json(one, sent) for one in objects]


def published(headers: Mapping[str, str]) -> int:
    """How many objects a processor says it published itself (status 204).

    Raises:
        WireError: The header is no number.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    text = lower.get(PUBLISHED.lower(), "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise WireError(f"{PUBLISHED}: {text[:40]!r} is no number.", code="answer")
    return int(text)


def encode_error(sentence: str) -> bytes:
    """The body of an answer that refuses."""
    return _dump({"error": sentence[:2000]})


def decode_error(body: bytes) -> str:
    """The sentence of an answer that refuses; never fails, never long, never empty."""
    try:
        text = str(_load(body)["error"])
    except (WireError, KeyError):
        text = body[:200].decode("utf-8", "replace")
    return text.strip()[:500] or "no reason given"


def _from_headers(headers: Mapping[str, str], body: bytes, sent: Parcel) -> Parcel:
    given: dict[str, str] = {}
    attributes, track, content_type = sent.attributes, sent.track, ""
    for name, value in headers.items():
        lower = name.lower()
        if lower in _PROPERTIES:
            given[_PROPERTIES[lower]] = value
        elif lower == "wtp-track":
            track = value
        elif lower == "wtp-attributes":
            attributes = _strings(_load(value.encode()))
        elif lower == "content-type":
            content_type = value
    if content_type and _media_type(content_type) != _OCTETS:
        given["content_type"] = content_type
    properties = {k: v for k, v in sent.properties.items() if k in RESERVED}
    return Parcel(track, {**properties, **given, **attributes}, body)


def _from_json(found: dict[str, Any], sent: Parcel) -> Parcel:
    track, properties = _track_and_properties(found, sent)
    payload, text = found.get("payload"), found.get("text")
    if isinstance(payload, str):
        try:
            return Parcel(track, properties, base64.b64decode(payload, validate=True))
        except (binascii.Error, ValueError) as error:
            raise WireError('"payload" is no base64.', code="answer") from error
    if payload is None and isinstance(text, str):
        try:
            return Parcel(track, properties, text.encode())
        except UnicodeEncodeError as error:
            raise WireError('"text" is no Unicode text.', code="answer") from error
    raise WireError('An object has neither "payload" (base64) nor "text".', code="answer")


def _track_and_properties(found: dict[str, Any], sent: Parcel) -> tuple[str, dict[str, str]]:
    track = found.get("track", sent.track)
    if not isinstance(track, str):
        raise WireError('"track" is no string.', code="answer")
    if "properties" not in found:
        return track, dict(sent.properties)
    inherited = {k: v for k, v in sent.properties.items() if k in RESERVED}
    return track, {**inherited, **_strings(found["properties"])}


def _split(body: bytes, sent: Parcel) -> list[Parcel]:
    """Take `application/x-wtp-objects` apart."""
    found: list[Parcel] = []
    at = 0
    while at < len(body):
        meta, at = _piece(body, at, MAX_META_BYTES)
        payload, at = _piece(body, at, len(body))
        track, properties = _track_and_properties(_load(meta), sent)
        found.append(Parcel(track, properties, payload))
        _check_count(len(found))
    return found


def _piece(body: bytes, at: int, most: int) -> tuple[bytes, int]:
    if at + _LENGTH.size > len(body):
        raise WireError("An answer of several objects is cut off.", code="answer")
    (length,) = _LENGTH.unpack_from(body, at)
    start = at + _LENGTH.size
    if length > most or start + length > len(body):
        raise WireError("An answer of several objects holds a wrong length.", code="answer")
    return body[start : start + length], start + length


def _check_count(count: int) -> None:
    if count > MOST_OBJECTS:
        raise WireError(f"An answer holds more than {MOST_OBJECTS} objects.", code="answer")


def _as_json(parcel: Parcel) -> dict[str, Any]:
    out: dict[str, Any] = {
        "track": parcel.track,
        "properties": dict(parcel.properties),
        "payload": base64.b64encode(parcel.payload).decode("ascii"),
    }
    if parcel.properties.get("content_type", "").startswith("text/"):
        out["text"] = parcel.payload.decode("utf-8", "replace")
    return out


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _load(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError("JSON from the peer cannot be read.", code="answer") from error
    if not isinstance(found, dict):
        raise WireError("JSON from the peer is no object.", code="answer")
    return found


def _strings(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise WireError("Properties are no flat JSON object of strings.", code="answer")
    try:
        "".join((*found, *found.values())).encode()
    except UnicodeEncodeError as error:
        raise WireError("Properties are no Unicode text.", code="answer") from error
    return found


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and value == value.strip()
