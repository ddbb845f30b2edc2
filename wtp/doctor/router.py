"""A router: its UDP side by a session, its TCP side by HTTPS, and what the two say together."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from wtp import __version__
from wtp.config.address import is_loopback, join_address
from wtp.consumer.trust import clock_trust
from wtp.doctor.finding import Finding, State, Subject
from wtp.doctor.session import Met, visit
from wtp.errors import UsageError, WtpError
from wtp.publisher.trust import room_url, trust_for
from wtp.transport.trust import Trust

WHY = "Publishers reach a router by QUIC over UDP; the same port over TCP serves clock and health."

DEFAULT_PORT = 4433
HTTPS_S = 2.8
"""Longest wait for the HTTPS side."""

HASH_S = 0.5

ABSENT = ("no-answer", "nothing-listens")
"""Codes of a session's failure that say nothing more than that nobody answered over UDP."""


@dataclass(frozen=True, slots=True)
class Web:
    """What the HTTPS side said.

    Attributes:
        reached: Whether a TCP connection was made.
        speaks: Whether it is a TLS server that may be a router's.
        problem: Why `/health` was not read; empty when it was.
        health: Its answer.
    """

    reached: bool
    problem: str = ""
    health: dict[str, Any] | None = None
    speaks: bool = True


async def look(subject: Subject) -> list[Finding]:
    """Visit the router on both sides at once."""
    url, where, trust = target(subject)
    met, web = await asyncio.gather(visit(url, trust), ask_health(url, trust, subject.certs))
    finding = judge(met, web, where, named=subject.router_named)
    if met.error is not None and met.error.code == "untrusted":
        shown = await _shown_hash(url)
        if shown:
            found = f"{finding.found} If it is yours, trust it by its hash:"
            finding = replace(finding, found=found, mend=f"--cert-hash {shown}")
    return [finding]


def target(subject: Subject) -> tuple[str, str, Trust]:
    """The router's URL, its HOST:PORT, and how it is judged.

    Raises:
        UsageError: The URL is none.
    """
    url, _ = room_url(subject.settings.router.url, subject.settings.rooms.room)
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    except ValueError:
        host, port = "", 0
    if parts.scheme != "https" or not host:
        raise UsageError(
            "The router's URL must look like https://HOST:4433/wt.",
            hint="Example: https://127.0.0.1:4433/wt",
        )
    return url, join_address(host, port), trust_for(url, subject.trust, subject.certs)()


def side_url(url: str, path: str) -> str:
    """Another path of the same router over HTTPS, without the query, which may hold a token."""
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    return urlunsplit(("https", join_address(host, parts.port or DEFAULT_PORT), path, "", ""))


async def ask_health(url: str, trust: Trust, certs: Path) -> Web:
    """Read the router's `/health`."""
    ssl = clock_trust(url, trust.cert_hash, trust.ca, trust.insecure, certs)
    limit = aiohttp.ClientTimeout(total=HTTPS_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(side_url(url, "/health"), ssl=ssl) as response,
        ):
            if response.status != 200:
                return Web(True, f"/health answers with HTTP status {response.status}")
            body = await response.json(content_type=None)
    except (aiohttp.ServerFingerprintMismatch, aiohttp.ClientConnectorCertificateError):
        return Web(True, "its certificate is not trusted")
    except aiohttp.ClientConnectorSSLError:
        return Web(True, "it does not speak TLS as a router does", speaks=False)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        cut = isinstance(error, (aiohttp.ClientConnectorError, TimeoutError))
        return Web(not cut, "no connection" if cut else "it breaks off", speaks=False)
    except ValueError:
        return Web(True, "/health answers with something else")
    known = isinstance(body, dict) and "status" in body
    return Web(True, "", body) if known else Web(True, "/health answers with something else")


async def _shown_hash(url: str) -> str:
    """Hash that the HTTPS side says its certificate has, unchecked; empty when it says none."""
    limit = aiohttp.ClientTimeout(total=HASH_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(side_url(url, "/cert-hash"), ssl=False) as response,
        ):
            body = await response.json(content_type=None)
            value = str(body["value"])
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError):
        return ""
    return value if re.fullmatch("[0-9a-f]{64}", value) else ""


def judge(met: Met, web: Web, where: str, *, named: bool) -> Finding:
    """Say what both sides together mean.

    Args:
        met: The session.
        web: The HTTPS side.
        where: `HOST:PORT`.
        named: Whether it is a fault that nothing is there.
    """
    if met.error is not None:
        return _no_session(met.error, web, where, named)
    if met.welcome is None and met.reason:
        found = f"{where} refused the session: {met.reason[:200]}"
        return Finding("router", State.FAULT, found, WHY, "Look at the router's log.")
    if met.welcome is None:
        found = f"{where} opens WebTransport sessions and is no wtp router"
        return Finding("router", State.WARNING, found, WHY, "wtp router")
    version = met.welcome.version
    found = (
        f"{where}: session over UDP in {met.connect_ms:.0f} ms, round trip "
        f"{met.round_trip_ms:.2f} ms, {met.datagram_bytes} bytes a datagram, wtp {version}"
    )
    return _with_session(found, version, web, where)


def _with_session(found: str, version: str, web: Web, where: str) -> Finding:
    """The session is fine: what else is there."""
    port = where.rpartition(":")[2]
    health = web.health or {}
    notes = health.get("notes") or {}
    if web.problem:
        found += f"; over TCP: {web.problem}, so no clock"
        return Finding("router", State.WARNING, found, WHY, f"sudo ufw allow {port}/tcp")
    if not health.get("connected", True):
        found += "; it has no broker"
        return Finding("router", State.WARNING, found, WHY, "wtp broker")
    if health["status"] != "ok":
        found += f"; it is {str(health['status'])[:40]}"
        return Finding("router", State.WARNING, found, WHY, "Wait, or start it again.")
    if version != __version__:
        found += f", here {__version__}"
        return Finding("router", State.WARNING, found, WHY, f"pip install 'wtp=={version}'")
    if isinstance(notes, dict) and notes:
        room, note = next(iter(notes.items()))
        found += f"; {room}: {note}"
        return Finding("router", State.WARNING, found[:400], WHY, "wtp doctor broker")
    return Finding("router", State.OK, f"{found}, HTTPS over TCP", WHY)


def _no_session(error: WtpError, web: Web, where: str, named: bool) -> Finding:
    host, _, port = where.rpartition(":")
    local = is_loopback(host.strip("[]"))
    if error.code not in (*ABSENT, "unknown-host"):
        return Finding("router", State.FAULT, error.message, WHY, error.hint)
    if error.code in ABSENT and web.reached:
        if web.health is None and (error.code == "nothing-listens" or not web.speaks):
            found = f"{where}: no router answers over UDP, and over TCP another program or a proxy"
            mend = "wtp router --listen 127.0.0.1:0" if local else "Correct the URL: --router URL"
            return Finding("router", State.FAULT if named else State.WARNING, found, WHY, mend)
        found = f"UDP is blocked: {where} answers over TCP, and nothing comes back over UDP"
        mend = (
            f"Let UDP port {port} pass, on the router's machine (sudo ufw allow {port}/udp) and in "
            "every firewall between."
        )
        return Finding("router", State.FAULT, found, WHY, mend)
    if named:
        found = f"{where} answers neither over UDP nor over TCP"
        if error.code == "unknown-host":
            found = error.message
        mend = "wtp router" if local else error.hint
        return Finding("router", State.FAULT, found, WHY, mend)
    return Finding("router", State.UNKNOWN, f"none runs at {where}", WHY, "wtp router")
