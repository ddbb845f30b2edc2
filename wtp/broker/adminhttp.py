"""The admin REST of a broker over HTTP: requests to one of its hosts, TLS, tokens, redirects."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from wtp.broker.access import Address, addresses, shown, ssl_context, token
from wtp.broker.adminfaults import START_HINT, before_sending, refusal, unreachable
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable, UsageError

__all__ = ["START_HINT", "TIMEOUT_S", "AdminHttp"]

TIMEOUT_S = 10.0
"""Longest wait for one answer; a real Pulsar's health check alone may take a second."""

CONNECT_S = 3.0
"""Longest wait for a connection."""

REDIRECTS = 5
"""Redirects followed in a row; a cluster sends one to the broker that owns a topic."""

_REDIRECTED = (301, 302, 307, 308)

Answer = tuple[bytes, Mapping[str, str]]


class AdminHttp:
    """Requests to the admin side of one broker or cluster over one session.

    Args:
        url: `http://host:8080` or `https://...`; several hosts with commas are tried in turn.
        broker: Trust, certificate and token.
        timeout: Longest wait for one answer, in seconds.

    Raises:
        UsageError: The URL is none of HTTP.
        ConfigError: A file of the settings cannot be used.
    """

    def __init__(self, url: str, broker: BrokerSettings, timeout: float) -> None:
        try:
            self._places = addresses(url, "http", "https")
        except BrokerUnavailable as error:
            raise UsageError(f"No admin URL: {error.message}", hint=error.hint) from error
        self.url = shown(url).rstrip("/")
        self._broker = broker
        self._tls: ssl.SSLContext | bool = ssl_context(broker) if self._places[0].secure else True
        token(broker)
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
    ) -> Answer:
        """Make one request, at the next host when the first cannot be reached.

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
            Refused: 401 or 403; code `not-allowed`, or why the broker does not know us
                (`token-missing`, `token-expired`, `token-refused`, `cert-refused`).
            BrokerUnavailable: Nothing answers in time, a proxy says so, or TLS fails (codes of
                `wtp.broker.accessprobe.knock`).
            BrokerError: Any other refusal; code `exists` for 409, `in-use` or `refused` for 412.
        """
        content, headers = None, {}
        if method in {"PUT", "POST"}:
            content = b"" if body is None else json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        fault: BrokerUnavailable | None = None
        for place in tuple(self._places):
            url = URL(f"{place.url}{base}{path}", encoded=True).with_query(query)
            try:
                answer = await self._ask(place, method, url, content, headers)
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                fault = await unreachable(place, error)
                fault.__cause__ = error
                if not before_sending(error) and method != "GET":
                    break
            else:
                self._prefer(place)
                return answer
        assert fault is not None  # noqa: S101 - a URL has one host at least
        raise fault

    def _prefer(self, place: Address) -> None:
        """Ask this host first from now on."""
        if self._places[0] is not place:
            self._places = [place, *(other for other in self._places if other is not place)]

    async def _ask(
        self,
        place: Address,
        method: str,
        url: URL,
        content: bytes | None,
        headers: Mapping[str, str],
    ) -> Answer:
        """Ask one host, and whom it sends us to; the token goes along, but never out of TLS."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        secret = await asyncio.to_thread(token, self._broker)
        for _ in range(REDIRECTS + 1):
            shows = bool(secret) and (url.scheme == "https" or not place.secure)
            who = {"Authorization": f"Bearer {secret}"} if shows else {}
            async with self._session.request(
                method,
                url,
                data=content,
                headers={**headers, **who},
                ssl=self._tls,
                allow_redirects=False,
            ) as answer:
                raw = await answer.read()
            onward = answer.headers.get("Location")
            if answer.status not in _REDIRECTED or not onward:
                break
            url = url.join(URL(onward, encoded=True))
        if answer.status in _REDIRECTED:
            raise BrokerUnavailable(
                f"{place.url} sends requests in circles.", hint=START_HINT, code="no-pulsar"
            )
        if answer.status >= 400:
            asked = url.raw_path.removeprefix("/admin/v2")
            raise refusal(place, answer.status, raw, asked, self._broker, secret)
        return raw, answer.headers
