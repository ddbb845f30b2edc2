from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from aiohttp import Fingerprint

from wtp.consumer.trust import clock_trust
from wtp.errors import UsageError
from wtp.transport.certs import create_certificate

ROUTER = "https://127.0.0.1:4433/wt"


def test_on_loopback_the_certificate_of_the_folder_is_pinned(tmp_path: Path) -> None:
    made = create_certificate(tmp_path)
    trust = clock_trust(ROUTER, "", None, False, tmp_path)
    assert isinstance(trust, Fingerprint)
    assert trust.fingerprint.hex() == made.sha256
    assert clock_trust("https://localhost:1/wt", "", None, False, tmp_path) is not True
    assert clock_trust("https://example.org/wt", "", None, False, tmp_path) is True
    assert clock_trust(ROUTER, "", None, False, tmp_path / "none") is True


def test_what_is_given_decides(tmp_path: Path) -> None:
    made = create_certificate(tmp_path)
    assert clock_trust(ROUTER, "", None, True, tmp_path) is False
    pinned = clock_trust(ROUTER, ":".join(["ab"] * 32), None, False, tmp_path)
    assert isinstance(pinned, Fingerprint)
    anchor = clock_trust(ROUTER, "", made.cert_path, False, tmp_path)
    assert isinstance(anchor, ssl.SSLContext)


@pytest.mark.parametrize("text", ["ab", "zz" * 32, "ab" * 33])
def test_a_hash_that_is_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        clock_trust(ROUTER, text, None, False, tmp_path)


def test_contradictions_and_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        clock_trust(ROUTER, "ab" * 32, None, True, tmp_path)
    (tmp_path / "wtp.crt").write_text("nonsense")
    with pytest.raises(UsageError):
        clock_trust(ROUTER, "", tmp_path / "wtp.crt", False, tmp_path)
    with pytest.raises(UsageError):
        clock_trust(ROUTER, "", tmp_path / "missing", False, tmp_path)
    with pytest.raises(UsageError):
        clock_trust(ROUTER, "", None, False, tmp_path)
