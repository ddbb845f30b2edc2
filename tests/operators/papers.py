"""Certificates and tokens for tests, made when they run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in files.

    Attributes:
        cert: PEM file.
        key: PEM file, mode 600.
    """

    cert: str
    key: str

    def server(self, clients: str = "") -> ssl.SSLContext:
        """A server with this certificate, that wants one of clients when `clients` is a CA file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if clients:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    """A certificate authority with a file of its own.

    Args:
        folder: For all its files.
        name: Its name, and the stem of its file.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = _key()
        self._cert = (
            _builder(name, name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = str(folder / f"{name}.pem")
        Path(self.file).write_bytes(self._cert.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str, *hosts: str, until: datetime | None = None) -> Pair:
        """Make a certificate for a name, with hosts (names and addresses) when it is a server's."""
        key = _key()
        issuer = self._cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        builder = _builder(name, str(issuer), key, until)
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        files = Pair(str(self._folder / f"{name}.pem"), str(self._folder / f"{name}.key"))
        Path(files.cert).write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        Path(files.key).touch(mode=0o600)
        Path(files.key).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _builder(
    name: str, issuer: str, key: rsa.RSAPrivateKey, until: datetime | None = None
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - 30 * DAY,
        not_valid_after=until or now + DAY,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def jwt(secret: bytes, **claims: Any) -> str:
    """A token signed with HS256."""
    head = {"alg": "HS256", "typ": "JWT"}
    text = ".".join(_part(json.dumps(one).encode()) for one in (head, claims))
    return f"{text}.{_part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def secret_file(path: Path, text: str, mode: int = 0o600) -> str:
    """Write a secret; returns the path."""
    path.touch()
    path.chmod(mode)
    path.write_text(text + "\n", encoding="ascii")
    return str(path)
