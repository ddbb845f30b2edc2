"""What user code returned, as objects that can be published."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from wtp.errors import WtpError
from wtp.model import RESERVED, Kind, Object, to_properties
from wtp.processor.code import CodeFailed
from wtp.processor.info import Info
from wtp.wire.process import MOST_OBJECTS, Parcel

JPEG_QUALITY = 80
MAX_ATTRIBUTES = 6000
"""Characters of an object's attributes as JSON; they go into a header, of which HTTP servers and
clients take 8190 bytes (aiohttp's `max_field_size`)."""

TYPES = "None, bytes, str, dict, numpy.ndarray, Object, or a list or iterator of these"


def parcels(returned: list[Any], parcel: Parcel, info: Info, code: str) -> list[Parcel]:
    """What user code returned for one object, one by one, as objects to be published.

    An object of another kind than the input's goes to a track of its own, `<name>-<code>`, with the
    attributes `source_track` and `processor`; one of the same kind stays in its track.

    Args:
        returned: The values, None left out.
        parcel: What it was given.
        info: The same, for people.
        code: Name of the code.

    Raises:
        CodeFailed: `wrong-type`: one of them is no object, too large, or they are too many.
    """
    if len(returned) > MOST_OBJECTS:
        raise _wrong(f"returned {len(returned)} objects for one; {MOST_OBJECTS} are allowed.")
    found = []
    for number, value in enumerate(returned):
        obj = _object(value, info)
        if len(returned) > 1:
            obj = replace(obj, attributes={**obj.attributes, "part": str(number)})
        found.append(_parcel(obj, parcel, info, code))
    return found


def _parcel(obj: Object, parcel: Parcel, info: Info, code: str) -> Parcel:
    if len(obj.payload) > obj.kind.max_bytes:
        most = obj.kind.max_bytes
        raise _wrong(f"returned {len(obj.payload)} bytes; {obj.kind} objects have at most {most}.")
    track, attributes = parcel.track, dict(obj.attributes)
    if obj.kind is not info.kind:
        track = derived_track(parcel.track, code)
        attributes.update(source_track=parcel.track, processor=code)
    if not RESERVED.isdisjoint(attributes):
        names = ", ".join(sorted(RESERVED & attributes.keys()))
        raise _wrong(f"returned attributes with reserved names ({names}).")
    if not all(isinstance(t, str) for pair in attributes.items() for t in pair):
        raise _wrong("returned attributes that are not strings.")
    if len(json.dumps(attributes)) > MAX_ATTRIBUTES:
        raise _wrong(f"returned attributes of more than {MAX_ATTRIBUTES} characters.")
    given = parcel.properties
    error_us = given.get("clock_error_us", "")
    properties = to_properties(
        replace(obj, attributes=attributes),
        given.get("instance", ""),
        given.get("clock", ""),
        int(error_us) if error_us.isdigit() else None,
    )
    return Parcel(track, properties, obj.payload)


def derived_track(track: str, code: str) -> str:
    """`room/publisher/<name>-<code>`, its last part cut to the 64 characters of a name."""
    room, publisher, name = track.split("/")
    return f"{room}/{publisher}/{name[: 63 - len(code[:32])]}-{code[:32]}"


def _object(value: Any, info: Info) -> Object:
    source = info.object
    if isinstance(value, Object):
        return _checked(value)
    if isinstance(value, str):
        try:
            return replace(source, payload=value.encode())
        except UnicodeEncodeError as error:
            raise _wrong("returned a str that is no Unicode text (half surrogates).") from error
    if isinstance(value, (bytes, bytearray, memoryview)):
        return replace(source, payload=bytes(value))
    if isinstance(value, dict):
        return _data(value, source)
    if type(value).__module__ == "numpy" and hasattr(value, "dtype"):
        return _array(value, info)
    raise _wrong(f"returned {type(value).__name__}; it may return {TYPES}.")


def _checked(obj: Object) -> Object:
    """An object that user code built, when its parts are what they must be."""
    try:
        good = (
            isinstance(obj.payload, bytes)
            and isinstance(obj.content_type, str)
            and obj.content_type.isprintable()
            and 0 <= obj.seq < 2**63
            and 0 <= obj.group < 2**63
        )
        if good:
            return replace(obj, kind=Kind(obj.kind))
    except (TypeError, ValueError):
        pass
    raise _wrong(
        "returned an Object whose payload is no bytes, or whose kind, number or type is wrong."
    )


def _data(value: dict[Any, Any], source: Object) -> Object:
    try:
        payload = json.dumps(value, default=_plain, separators=(",", ":"), ensure_ascii=False)
        encoded = payload.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong(f"returned a dict that is no JSON ({error}).") from error
    return replace(
        source,
        kind=Kind.DATA,
        payload=encoded,
        content_type="application/json",
        key=True,
        group=source.seq,
        duration_us=0,
        attributes={},
    )


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not known to JSON")


def _array(value: Any, info: Info) -> Object:
    source = info.object
    if source.kind is Kind.AUDIO and value.ndim in (1, 2) and value.dtype in ("int16", "float32"):
        from wtp.processor.sound import encode_pcm

        payload, content_type = encode_pcm(value, info.rate_hz or 48_000)
        return replace(source, payload=payload, content_type=content_type)
    flat = value.ndim == 2 or (value.ndim == 3 and value.shape[2] == 3)
    if value.dtype != "uint8" or not flat or not value.size:
        raise _wrong(
            f"returned an array of {value.dtype} {value.shape}; a picture is uint8, height x width"
            " x 3 (BGR) or height x width."
        )
    payload = _jpeg(value)
    kind = source.kind if source.kind in (Kind.VIDEO, Kind.SCREEN) else Kind.VIDEO
    return replace(
        source, kind=kind, payload=payload, content_type="image/jpeg", key=True, group=source.seq
    )


def _jpeg(picture: Any) -> bytes:
    from wtp.processor.picture import encode_jpeg

    try:
        return encode_jpeg(picture, JPEG_QUALITY)
    except WtpError as error:
        raise _wrong(f"returned a picture that cannot be encoded: {error.message}") from error


def _wrong(what: str) -> CodeFailed:
    return CodeFailed(f"The code {what}", hint="Only this object is lost.", code="wrong-type")
