"""Questions over HTTP: JSON objects from routers and from processes that show their figures."""

from __future__ import annotations

import json
import os
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp

from wtp.errors import ConnectionFailed, Refused

if TYPE_CHECKING:
    from aiohttp import Fingerprint

    Trust = ssl.SSLContext | Fingerprint | bool

ANSWER_S = 3.0
"""Longest wait for an answer; a process on a busy machine may need a second."""

WRONG_HASH, UNTRUSTED = "wrong-hash", "untrusted"
"""Codes of errors that only trust can mend."""

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Largest answer that is read: thousands of tracks."""


class Caller:
    """Asks over connections that stay open. Close it at the end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, url: str, trust: Trust = True) -> dict[str, Any]:
        """Ask for one JSON object.

        Args:
            url: Complete URL.
            trust: How its certificate is checked, as aiohttp's `ssl`.

        Raises:
            ConnectionFailed: No answer, or none that is a JSON object.
            Refused: Status 403: its figures are for its own machine only.
        """
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_S)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        try:
            async with self._session.get(url, ssl=trust, allow_redirects=False) as answer:
                return await _body(answer, url)
        except aiohttp.ServerFingerprintMismatch as error:
            raise ConnectionFailed(
                f"its certificate is another one, with the hash {error.got.hex()}",
                hint=f"If that router is yours, use --cert-hash {error.got.hex()}",
                code=WRONG_HASH,
            ) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise ConnectionFailed(
                "its certificate is not trusted",
                hint="Give its hash with --cert-hash, its file with --ca, or set WTP_CERTS.",
                code=UNTRUSTED,
            ) from error
        except TimeoutError as error:
            raise ConnectionFailed(
                f"no answer within {ANSWER_S:g} s", hint="Does it hang?"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionFailed(_reason(error), hint="Is it running?") from error


async def _body(answer: aiohttp.ClientResponse, url: str) -> dict[str, Any]:
    if answer.status == 403:
        raise Refused("its figures are for its own machine only", hint="Watch it there.")
    if answer.status != 200:
        raise ConnectionFailed(
            f"it answers with HTTP status {answer.status}", hint=f"Is {url} one of wtp?"
        )
    parts, size_bytes = [], 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > MAX_BODY_BYTES:
            raise ConnectionFailed("its answer is too long", hint=f"Is {url} one of wtp?")
    try:
        body = json.loads(b"".join(parts))
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ConnectionFailed("its answer is no JSON object", hint=f"Is {url} one of wtp?")
    return body


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", None) or error
    number = getattr(cause, "errno", None)
    text = os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
    return (text or type(error).__name__).lower()
