"""What failures of the admin REST mean, in sentences."""

from __future__ import annotations

import json
import re
import socket
import ssl
from urllib.parse import unquote

import aiohttp

from wtp.broker.access import Address
from wtp.broker.accessfaults import not_authenticated, untrusted
from wtp.broker.accessprobe import speaks_tls
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused

START_HINT = "Start one with `wtp broker`, or give the address of another one with --admin."

_CODES = {409: "exists", 412: "refused", 415: "refused", 422: "refused"}

_ROLE = re.compile(r"clientAppId \[([^\]]*)\]")
_OPERATION = re.compile(r"operation \[([^\]]*)\] on (\w+) \[([^\]]*)\]")
"""Parts of Pulsar's reason for a missing right."""

_PLACE = re.compile(r"/(?:namespaces|persistent|non-persistent)/([^/]+)/([^/]+)")
"""Tenant and namespace in a path of the admin API."""

_IN_USE = re.compile(r"\b(active|connected|live)\b", re.IGNORECASE)
"""Words of Pulsar's reason not to delete what has clients: `Topic has active
producers/subscriptions`, `Topic has 1 connected producers/consumers`."""


def before_sending(error: Exception) -> bool:
    """Whether a request failed before anything of it was sent: another host may be tried."""
    return isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))


async def unreachable(place: Address, error: Exception) -> BrokerUnavailable:
    """Why there was no answer.

    Args:
        place: Who was asked.
        error: aiohttp's.
    """
    url, here = place.url, f"The broker's admin side at {place.url}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return untrusted(place, cause)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return BrokerUnavailable(
            f"{here} does not answer as a TLS server does.",
            hint=f"Write http://{place.host}:{place.port}, or give the port for HTTPS (8443 "
            "mostly).",
            code="no-tls",
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, socket.gaierror):
            return BrokerUnavailable(
                f"The host of {url} is unknown.", hint=START_HINT, code="unknown-host"
            )
        return BrokerUnavailable(f"{here} does not answer.", hint=START_HINT)
    if isinstance(error, TimeoutError):
        return BrokerUnavailable(f"{here} did not answer in time.", hint=START_HINT)
    if not place.secure and await speaks_tls(place):
        return BrokerUnavailable(
            f"{here} wants TLS.",
            hint=f"Write https://{place.host}:{place.port}, with broker.ca (WTP_BROKER_CA).",
            code="tls-wanted",
        )
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.ServerDisconnectedError)):
        return BrokerUnavailable(
            f"{here} does not answer as a Pulsar does.",
            hint="Give the port of HTTP (8080 mostly), not that of the binary protocol, with "
            "--admin.",
            code="no-pulsar",
        )
    return BrokerUnavailable(f"{here} broke the connection off.", hint=START_HINT)


def refusal(
    place: Address, status: int, raw: bytes, path: str, broker: BrokerSettings, secret: str
) -> BrokerError | Refused:
    """The error for an answer of 400 or more.

    Args:
        place: Who answered.
        status: HTTP status.
        raw: Body.
        path: What was asked for.
        broker: How we came.
        secret: The token that was shown, "" for none.
    """
    said = _reason(raw)
    reason = said or f"The broker answered with HTTP status {status}."
    if status == 401 and not said:  # Pulsar's page for whom it does not know
        return not_authenticated(place.url, broker, secret)
    if status in {401, 403}:
        return Refused(
            f"The broker does not allow it: {_missing_right(reason)}",
            hint="Use a token with the rights for it, or ask whoever runs the broker.",
            code="not-allowed",
        )
    if status == 404:
        return _missing(reason, path)
    if status in {502, 503, 504}:
        return BrokerUnavailable(reason, hint="Wait until it has started, then try again.")
    if not said and status in {400, 501, 505}:
        return BrokerUnavailable(
            f"{place.url} answers with HTTP status {status}, not as a Pulsar does.",
            hint="Give the port of the admin API (8080 mostly) with --admin.",
            code="no-pulsar",
        )
    code = _CODES.get(status, "broker")
    if status == 412 and _IN_USE.search(reason):
        code = "in-use"
    hint = "Close the clients, or force it." if code == "in-use" else ""
    return BrokerError(reason, hint=hint, code=code)


def _missing(reason: str, path: str) -> NotFound:
    """What does not exist; a namespace or tenant is named, which Pulsar does not do."""
    what, *_ = reason.split(" ", 1)
    parts = _PLACE.match(path)
    if what not in ("Namespace", "Tenant") or not parts:
        return NotFound(reason, hint=f"The broker was asked for {path}.")
    name = parts[1] if what == "Tenant" else f"{parts[1]}/{parts[2]}"
    return NotFound(
        f"The broker has no {what.lower()} {unquote(name)}.",
        hint="Whoever runs it creates one, or the profile allows it: rooms.create: true.",
    )


def _missing_right(reason: str) -> str:
    """Pulsar's reason in fewer words, where it has the usual form."""
    operation, role = _OPERATION.search(reason), _ROLE.search(reason)
    if not operation:
        return reason
    who = f"the role {role[1]!r}" if role else "this client"
    return f"{who} may not {operation[1]} on {operation[2]} {operation[3]}."


def _reason(raw: bytes) -> str:
    try:
        found = json.loads(raw)
    except ValueError:
        return ""
    reason = found.get("reason") if isinstance(found, dict) else None
    return str(reason)[:500] if reason else ""
