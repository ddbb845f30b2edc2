"""How the certificate of the router whose clock is measured is checked."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wtp.config.address import is_loopback
from wtp.errors import UsageError

if TYPE_CHECKING:
    from aiohttp import Fingerprint

CERTIFICATE = "wtp.crt"
"""Name of the router's certificate in the certificates folder."""


def clock_trust(
    router: str, cert_hash: str, ca: Path | None, insecure: bool, certs: Path
) -> ssl.SSLContext | Fingerprint | bool:
    """What to hand to aiohttp as `ssl`.

    Args:
        router: URL of the router; empty for none.
        cert_hash: SHA-256 of its certificate in hexadecimal, colons allowed.
        ca: PEM file of certificates that sign it, or it itself.
        insecure: Check nothing.
        certs: The certificates folder: on loopback the certificate in it is trusted by itself.

    Raises:
        UsageError: Several were given, or one makes no sense.
    """
    if bool(cert_hash) + (ca is not None) + insecure > 1:
        raise UsageError(
            "A certificate hash, an authority and no check at all exclude each other.",
            hint="Give one of --cert-hash, --ca and --insecure.",
        )
    if insecure:
        return False
    if cert_hash:
        return _pinned(_digest(cert_hash))
    if ca is not None:
        try:
            return ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{ca} holds no certificates: {error}.", hint="Give a PEM file to --ca."
            ) from error
    own = certs / CERTIFICATE
    if is_loopback(urlsplit(router).hostname or "") and own.is_file():
        try:
            der = ssl.PEM_cert_to_DER_cert(own.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{own} is no certificate: {error}.", hint="Create one: wtp certs create."
            ) from error
        return _pinned(hashlib.sha256(der).digest())
    return True


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise UsageError(
            "The certificate hash does not have 64 hexadecimal digits.",
            hint="Copy the --cert-hash line that the router prints at its start.",
        )
    return digest


def _pinned(digest: bytes) -> Fingerprint:
    from aiohttp import Fingerprint

    return Fingerprint(digest)
