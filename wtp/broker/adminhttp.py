"""One admin REST over HTTP: requests, and what their failures mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused, UsageError

TIMEOUT_S = 10.0
"""Longest wait for one answer; a real Pulsar's health check alone may take a second."""

CONNECT_S = 3.0
"""Longest wait for a connection."""

START_HINT = "Start one with `wtp broker`, or give the address of another one with --admin."

_CODES = {409: "exists", 412: "refused", 415: "refused", 422: "refused"}


class AdminHttp:
    """Requests to one broker's admin side over one session.

    Args:
        url: `http://host:8080` or `https://...`.
        token: Sent as bearer token when not empty.
        timeout: Longest wait for one answer, in seconds.

    Raises:
        UsageError: The URL is none of HTTP.
    """

    def __init__(self, url: str, token: str, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise UsageError(
                f"{url!r} is not an admin URL.", hint="Write http://HOST:PORT, port 8080 mostly."
            )
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(timeout, CONNECT_S))
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def json(self, method: str, path: str, *, base: str = "/admin/v2") -> Any:
        """Make one request (see `call`); returns the JSON of the answer, None for an empty one."""
        raw, _ = await self.call(method, path, base=base)
        if not raw.strip():
            return None
        try:
            return json.loads(raw)
        except ValueError as error:
            raise BrokerUnavailable(
                f"{self.url} does not answer as a Pulsar does.", hint=START_HINT
            ) from error

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        base: str = "/admin/v2",
    ) -> tuple[bytes, Mapping[str, str]]:
        """Make one request.

        Args:
            method: HTTP method.
            path: Path below `base`, escaped.
            body: Sent as JSON with PUT and POST; None sends an empty body.
            query: Query of the URL.
            base: What the path is below.

        Returns:
            Body and headers of the answer.

        Raises:
            NotFound: 404.
            Refused: 401 or 403; code `not-allowed`.
            BrokerUnavailable: Nothing answers in time, or a proxy says so.
            BrokerError: Any other refusal; code `exists` for 409, `in-use` or `refused` for 412.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        content, kind = None, {}
        if method in {"PUT", "POST"}:
            content = b"" if body is None else json.dumps(body).encode()
            kind = {"Content-Type": "application/json"}
        url = URL(f"{self.url}{base}{path}", encoded=True).with_query(query)
        try:
            async with self._session.request(method, url, data=content, headers=kind) as answer:
                raw = await answer.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            slow = isinstance(error, TimeoutError)
            what = "did not answer in time" if slow else "does not answer"
            raise BrokerUnavailable(
                f"The broker's admin side at {self.url} {what}.", hint=START_HINT
            ) from error
        if answer.status >= 400:
            raise _translated(answer.status, raw, path)
        return raw, answer.headers


def _translated(status: int, raw: bytes, path: str) -> BrokerError | Refused:
    """Return the error for a refusal."""
    reason = _reason(raw) or f"The broker answered with HTTP status {status}."
    if status in {401, 403}:
        return Refused(
            f"The broker does not allow it: {reason}",
            hint="Use a token with the rights for it, or ask whoever runs the broker.",
            code="not-allowed",
        )
    if status == 404:
        return NotFound(reason, hint=f"The broker was asked for {path}.")
    if status in {502, 503, 504}:
        return BrokerUnavailable(reason, hint="Wait until it has started, then try again.")
    code = _CODES.get(status, "broker")
    if status == 412 and any(word in reason.lower() for word in ("active", "live ")):
        code = "in-use"
    hint = "Close the clients, or force it." if code == "in-use" else ""
    return BrokerError(reason, hint=hint, code=code)


def _reason(raw: bytes) -> str:
    try:
        found = json.loads(raw)
    except ValueError:
        return ""
    reason = found.get("reason") if isinstance(found, dict) else None
    return str(reason)[:500] if reason else ""
