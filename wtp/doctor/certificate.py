"""The router's certificate in the certificates folder."""

from __future__ import annotations

import asyncio
import datetime as dt
import shlex
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from wtp.doctor.finding import Finding, State, Subject
from wtp.errors import StorageError
from wtp.transport.certs import Certificate, load_certificate

WHY = (
    "Publishers and browsers know the router by it; browsers take one by its hash only when it is "
    "ECDSA P-256 and valid for 14 days at most."
)
HASHED_DAYS = 14
"""Longest validity for `serverCertificateHashes` (W3C WebTransport, section 6.9)."""

CREATE = "wtp certs create --force"


async def look(subject: Subject) -> list[Finding]:
    """Read it; nothing is created."""
    return [await asyncio.to_thread(judge_folder, subject.certs)]


def judge_folder(folder: Path, now: dt.datetime | None = None) -> Finding:
    """Judge the certificate of a folder.

    Args:
        folder: Where it is looked for.
        now: The time, aware, for tests.
    """
    try:
        certificate = load_certificate(folder)
    except StorageError as error:
        if error.code != "no-certificate":
            return Finding("certificate", State.FAULT, error.message, WHY, CREATE)
        found = f"none in {folder} yet; a router makes one at its start"
        return Finding("certificate", State.UNKNOWN, found, WHY, "wtp certs create")
    except ValueError as error:  # a kind of key that cryptography does not know
        return Finding("certificate", State.FAULT, f"{folder}: {error}", WHY, CREATE)
    return judge(certificate, _der(certificate), now or dt.datetime.now(dt.UTC))


def judge(certificate: Certificate, parsed: x509.Certificate, now: dt.datetime) -> Finding:
    """Judge a certificate."""
    kind = _kind(parsed)
    days = (certificate.not_after - certificate.not_before).total_seconds() / 86400
    found = (
        f"{certificate.cert_path}: {kind}, {_age(now - certificate.not_before)} old, "
        f"{_age(certificate.not_after - now)} left"
    )
    if now > certificate.not_after:
        found = f"{certificate.cert_path} expired {_age(now - certificate.not_after)} ago"
        return Finding("certificate", State.FAULT, found, WHY, f"{CREATE}   # restart the router")
    if now < certificate.not_before:
        found = f"{certificate.cert_path} is not valid yet: this machine's date is {now:%Y-%m-%d}"
        return Finding("certificate", State.FAULT, found, WHY, "sudo timedatectl set-ntp true")
    if certificate.key_path.stat().st_mode & 0o044:
        key = shlex.quote(str(certificate.key_path))
        found = f"others may read its key; {found}"
        return Finding("certificate", State.WARNING, found, WHY, f"chmod 600 {key}")
    if kind != "ECDSA P-256" or days > HASHED_DAYS:
        found += f"; {kind}, {days:.0f} days of validity: browsers do not take it by its hash"
        return Finding("certificate", State.WARNING, found, WHY, CREATE)
    return Finding("certificate", State.OK, found, WHY, f"--cert-hash {certificate.sha256}")


def _der(certificate: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.cert_path.read_bytes())


def _kind(parsed: x509.Certificate) -> str:
    key = parsed.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ECDSA P-256" if isinstance(key.curve, ec.SECP256R1) else f"ECDSA {key.curve.name}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


def _age(span: dt.timedelta) -> str:
    hours = span.total_seconds() / 3600
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    return f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
