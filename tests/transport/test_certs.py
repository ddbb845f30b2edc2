"""Certificates have exactly the form browsers accept by hash."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wtp.errors import StorageError
from wtp.transport.certs import create_certificate, ensure_certificate, load_certificate


def test_form(tmp_path: Path) -> None:
    made = create_certificate(tmp_path / "new" / "certs", hosts=["router.lan", "10.0.0.7", "::1"])
    read = x509.load_pem_x509_certificate(made.cert_path.read_bytes())
    key = read.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert read.not_valid_after_utc - read.not_valid_before_utc == dt.timedelta(days=13)
    assert dt.timedelta(0) < dt.datetime.now(dt.UTC) - made.not_before < dt.timedelta(minutes=2)
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["router.lan"]
    wanted = [ipaddress.ip_address("10.0.0.7"), ipaddress.ip_address("::1")]
    assert names.get_values_for_type(x509.IPAddress) == wanted
    der = read.public_bytes(serialization.Encoding.DER)
    assert made.sha256 == hashlib.sha256(der).hexdigest()
    assert made.key_path.stat().st_mode & 0o777 == 0o600
    assert not made.expired
    assert sorted(os.listdir(made.cert_path.parent)) == ["wtp.crt", "wtp.key"]


def test_ensure_creates_keeps_and_renews(tmp_path: Path) -> None:
    first, created = ensure_certificate(tmp_path)
    assert created
    again, created = ensure_certificate(tmp_path)
    assert (again, created) == (first, False)
    create_certificate(tmp_path, days=1)  # less than a day is left
    renewed, created = ensure_certificate(tmp_path)
    assert created
    assert renewed.not_after > first.not_before + dt.timedelta(days=12)


def test_damage_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no certificate") as caught:
        load_certificate(tmp_path)
    assert "wtp certs create" in caught.value.hint
    made = create_certificate(tmp_path)
    other = create_certificate(tmp_path / "other")
    made.key_path.write_bytes(other.key_path.read_bytes())
    with pytest.raises(StorageError, match="another certificate"):
        ensure_certificate(tmp_path)
    made.cert_path.write_text("rubbish")
    with pytest.raises(StorageError, match="damaged"):
        load_certificate(tmp_path)


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        create_certificate(tmp_path / "file" / "certs")
