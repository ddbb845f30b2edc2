"""Development certificates that browsers accept by hash, in a folder: wtp.crt and wtp.key.

Chromium takes a certificate by hash only when it is ECDSA, has a SAN extension and is valid for
at most 14 days (W3C WebTransport, section "serverCertificateHashes").
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wtp.errors import StorageError

CERT_NAME = "wtp.crt"
KEY_NAME = "wtp.key"
DEFAULT_HOSTS = ("localhost", "127.0.0.1", "::1")
DEFAULT_DAYS = 13
_BACKDATE = dt.timedelta(minutes=1)
_RENEW_BEFORE = dt.timedelta(days=1)
_HINT = "Create a new one with `wtp certs create`."


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate on disk with its key.

    Attributes:
        cert_path: PEM file of the certificate.
        key_path: PEM file of the private key, mode 0600.
        sha256: SHA-256 of the DER form, 64 lower-case hexadecimal digits.
        not_before: Start of validity, aware.
        not_after: End of validity, aware.
    """

    cert_path: Path
    key_path: Path
    sha256: str
    not_before: dt.datetime
    not_after: dt.datetime

    @property
    def expired(self) -> bool:
        """Whether its validity is over."""
        return dt.datetime.now(dt.UTC) > self.not_after


def create_certificate(
    folder: Path, *, hosts: Sequence[str] = DEFAULT_HOSTS, days: int = DEFAULT_DAYS
) -> Certificate:
    """Write a fresh self-signed ECDSA P-256 certificate and its key into ``folder``.

    Args:
        folder: Created when absent. Existing files are replaced, the key first.
        hosts: Names and addresses for the SAN extension.
        days: Days of validity from now; the start is backdated by one minute.

    Raises:
        StorageError: The folder cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wtp")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now - _BACKDATE + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(folder / KEY_NAME, key_pem, 0o600)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        _write_whole(folder / CERT_NAME, pem, 0o644)
    except OSError as error:
        raise StorageError(
            f"The certificates folder {folder} cannot be written: {error.strerror}.",
            hint="Make it writable or choose another folder.",
        ) from error
    return load_certificate(folder)


def load_certificate(folder: Path) -> Certificate:
    """Read the certificate of ``folder``.

    Raises:
        StorageError: It is absent, unreadable, damaged, or the key does not belong to it.
    """
    cert_path, key_path = folder / CERT_NAME, folder / KEY_NAME
    try:
        certificate = x509.load_pem_x509_certificate(cert_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    except FileNotFoundError as error:
        raise StorageError(
            f"There is no certificate in {folder}.", hint=_HINT, code="no-certificate"
        ) from error
    except OSError as error:
        raise StorageError(
            f"The certificate in {folder} cannot be read: {error.strerror}.",
            hint="Check the owner and mode of wtp.crt and wtp.key.",
        ) from error
    except ValueError as error:
        raise StorageError(f"The certificate in {folder} is damaged.", hint=_HINT) from error
    if key.public_key() != certificate.public_key():
        raise StorageError(f"The key in {folder} belongs to another certificate.", hint=_HINT)
    return Certificate(
        cert_path,
        key_path,
        certificate.fingerprint(hashes.SHA256()).hex(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def ensure_certificate(
    folder: Path, hosts: Sequence[str] = DEFAULT_HOSTS
) -> tuple[Certificate, bool]:
    """Return a certificate with at least a day left, and whether it was created just now.

    Raises:
        StorageError: The folder cannot be read or written, or its files are damaged.
    """
    try:
        certificate = load_certificate(folder)
    except StorageError as error:
        if error.code != "no-certificate":
            raise
        return create_certificate(folder, hosts=hosts), True
    if certificate.not_after - dt.datetime.now(dt.UTC) < _RENEW_BEFORE:
        return create_certificate(folder, hosts=hosts), True
    return certificate, False


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _write_whole(path: Path, data: bytes, mode: int) -> None:
    """Replace ``path`` in one step; a reader never sees half of it or a wider mode."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
