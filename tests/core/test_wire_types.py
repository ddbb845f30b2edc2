"""wtp.wire: the first byte of a stream tells what it carries."""

from __future__ import annotations

import pytest

from wtp.errors import WireError
from wtp.wire import StreamType, stream_type


@pytest.mark.parametrize("first", range(256))
def test_every_first_byte(first: int) -> None:
    if chr(first).isprintable() and first < 128:
        assert stream_type(first) is StreamType.LEGACY
    elif first == 1:
        assert stream_type(first) is StreamType.CONTROL
    elif first == 2:
        assert stream_type(first) is StreamType.OBJECTS
    else:
        with pytest.raises(WireError, match=f"0x{first:02x}") as caught:
            stream_type(first)
        assert caught.value.code == "stream-type"
