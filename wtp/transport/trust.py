"""How a server's certificate is judged, and the sentence for each way a connection can fail."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from wtp.errors import ConnectionFailed, UsageError

CRYPTO_ERROR = 0x100
"""QUIC error code of TLS alert 0 (RFC 9001 section 4.8)."""
ALERT_BAD_CERTIFICATE = 42
"""RFC 8446 section 6."""
_ALERT_EXPIRED = 45  # RFC 8446 section 6


@dataclass(frozen=True, slots=True)
class Trust:
    """How the server's certificate is judged; nothing set: the system's authorities.

    Attributes:
        cert_hash: SHA-256 of the certificate's DER form in hexadecimal, colons allowed.
        ca: PEM file of the trust anchor; may be the server's own certificate.
        insecure: Judge nothing.
    """

    cert_hash: str = ""
    ca: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if bool(self.cert_hash) + (self.ca is not None) + self.insecure > 1:
            raise UsageError(
                "A certificate hash, an authority and no check at all exclude each other.",
                hint="Give one of --cert-hash, --ca and --insecure.",
            )
        if self.cert_hash and len(self.wanted_hash) != 64:
            raise UsageError(
                "The certificate hash does not have 64 hexadecimal digits.",
                hint="Copy the --cert-hash line that the router prints at its start.",
            )

    @property
    def wanted_hash(self) -> str:
        """The hash as 64 lower-case digits."""
        return self.cert_hash.replace(":", "").strip().lower()

    def judge(self, certificate: x509.Certificate | None) -> ConnectionFailed | None:
        """Compare the hash and the dates when a hash is given; TLS judges all else."""
        if not self.cert_hash or certificate is None:
            return None
        got = certificate.fingerprint(hashes.SHA256()).hex()
        if got != self.wanted_hash:
            return ConnectionFailed(
                f"The server's certificate is another one: expected {self.wanted_hash}, got {got}.",
                hint=f"If that server is yours, use --cert-hash {got}",
                code="wrong-hash",
            )
        if dt.datetime.now(dt.UTC) > certificate.not_valid_after_utc:
            return _expired(certificate)
        return None


def handshake_failure(
    where: str, code: int, reason: str, certificate: x509.Certificate | None
) -> ConnectionFailed:
    """Say why a handshake failed.

    Args:
        where: ``host:port``.
        code: QUIC or application error code.
        reason: What came with it.
        certificate: The server's, when it was seen and QUIC itself closed the connection.
    """
    alert = code - CRYPTO_ERROR
    if certificate is not None and alert == _ALERT_EXPIRED:
        now = dt.datetime.now(dt.UTC)
        if now < certificate.not_valid_before_utc:
            return ConnectionFailed(
                f"The certificate of {where} is not valid yet.",
                hint="Compare the clocks of both machines.",
                code="expired",
            )
        return _expired(certificate)
    if certificate is not None and alert == ALERT_BAD_CERTIFICATE:
        return ConnectionFailed(
            f"The certificate of {where} is not trusted ({reason}).",
            hint="Give its hash with --cert-hash or its file with --ca.",
            code="untrusted",
        )
    return ConnectionFailed(
        f"{where} refused the handshake (code {code:#x}{', ' if reason else ''}{reason}).",
        hint="Check that it is a wtp router or another WebTransport server.",
        code="handshake",
    )


def no_answer(where: str, what: str) -> ConnectionFailed:
    """Say that nothing came back."""
    port = where.rpartition(":")[2]
    return ConnectionFailed(
        f"No QUIC answer from {where}: {what}.",
        hint=f"Is the router running there, and may UDP port {port} pass?",
        code="no-answer",
    )


def nothing_listens(where: str) -> ConnectionFailed:
    """Say that this machine has no such port open."""
    return ConnectionFailed(
        f"Nothing listens on UDP {where}.",
        hint="Start the router with `wtp router`, or correct the URL.",
        code="nothing-listens",
    )


def wrong_status(status: str, path: str) -> ConnectionFailed:
    """Say which HTTP status came instead of a session."""
    return ConnectionFailed(
        f"The server answered {path or '/'} with HTTP status {status}.",
        hint="The path of a router is /wt." if status == "404" else "Ask its operator why.",
        code="http-status",
    )


def _expired(certificate: x509.Certificate) -> ConnectionFailed:
    return ConnectionFailed(
        "The server's certificate expired on "
        f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC.",
        hint="Create a new one with `wtp certs create` on the server and restart the router.",
        code="expired",
    )
