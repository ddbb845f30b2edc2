from __future__ import annotations

import pytest

from wtp.config.address import is_loopback, join_address, split_address


@pytest.mark.parametrize(
    ("text", "host", "port", "public"),
    [
        ("127.0.0.1:4433", "127.0.0.1", 4433, False),
        ("localhost:0", "localhost", 0, False),
        ("[::1]:1", "::1", 1, False),
        ("0.0.0.0:4433", "0.0.0.0", 4433, True),
        ("[::]:4433", "::", 4433, True),
        ("example.org:4433", "example.org", 4433, True),
    ],
)
def test_addresses(text: str, host: str, port: int, public: bool) -> None:
    assert split_address(text) == (host, port)
    assert is_loopback(host) is not public
    assert join_address(host, port) == text
