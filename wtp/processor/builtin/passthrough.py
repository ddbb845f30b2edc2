"""Everything as it came."""

from __future__ import annotations

from wtp.processor import Object


def process(obj: Object) -> Object:
    """Return the object."""
    return obj
