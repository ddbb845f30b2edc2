"""One try of one object with an HTTP processor: what it answered, or what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from wtp.errors import WireError
from wtp.wire.process import (
    Format,
    Parcel,
    decode_answer,
    decode_error,
    encode_one,
    published,
)

MOST_ANSWER_BYTES = 8 * 1024 * 1024
"""Payloads in one answer: two of the largest objects."""

MOST_ERROR_BYTES = 64 * 1024
MOST_WORDS = 300
"""Characters of a processor's own words that are passed on."""

KEEP_ALIVE_S = 4.0
"""Idle connections are closed before common servers do it (uvicorn: 5 s): a request
on a connection that the other side just closed costs a try."""

DOWN, TIMEOUT, ERROR = "processor-down", "processor-timeout", "processor-error"
REFUSED, GARBAGE = "processor-refused", "processor-garbage"

FOR_GOOD = frozenset({400, 413, 415, 422})
"""Answers that say the object is at fault; all others are the processor's fault, and may pass."""

Properties = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a processor made of an object.

    Attributes:
        parcels: The processed objects; none when it has filtered or published it.
        published: How many objects it has published itself.
    """

    parcels: tuple[Parcel, ...] = ()
    published: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no answer.

    Attributes:
        reason: Under which a lost object is counted.
        message: One sentence.
        passing: Whether another try may succeed.
        rest_s: For how long the processor asked not to be asked.
    """

    reason: str
    message: str
    passing: bool = True
    rest_s: float = 0.0


def open_session() -> aiohttp.ClientSession:
    """A session that keeps connections, follows nothing and believes nothing."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "wtp"},
    )


def shown(url: str) -> str:
    """A URL for logs: without the password and the query that it may hold."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    parcel: Parcel,
    data_format: Format,
    timeout_s: float,
) -> Answer | Fault:
    """Send an object to a processor; an answer that comes later than `timeout_s` is never seen."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(session, url, parcel, data_format)
    except TimeoutError:
        return Fault(TIMEOUT, f"no answer within {timeout_s:g} s")
    except WireError as error:
        return Fault(GARBAGE, error.message)
    except aiohttp.ClientPayloadError:
        return Fault(GARBAGE, "the answer is shorter than it said")
    except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
        return Fault(GARBAGE, f"no HTTP: {_words(error)}")
    except aiohttp.ClientConnectorError as error:
        return Fault(DOWN, f"nothing listens at {error.host}:{error.port}")
    except (aiohttp.ClientError, OSError) as error:
        return Fault(DOWN, f"no connection: {_words(error)}")
    except ValueError as error:
        return Fault(GARBAGE, f"no HTTP: {_words(error)}")


async def _exchange(
    session: aiohttp.ClientSession, url: str, parcel: Parcel, data_format: Format
) -> Answer | Fault:
    headers, body = encode_one(parcel, data_format)
    async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
        status = response.status
        if status == 200:
            body = await _read(response, _limit(data_format))
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise WireError("The answer is compressed.", code="answer")
            return _answer(response.headers, body, parcel, data_format)
        if status == 204:
            return Answer(published=published(response.headers))
        if 200 < status < 300:
            return Fault(GARBAGE, f"HTTP {status} is no answer of a processor")
        if 300 <= status < 400:
            return Fault(ERROR, f"HTTP {status}: it redirects, which is not followed")
        return await _refusal(response)


def _limit(data_format: Format) -> int:
    return MOST_ANSWER_BYTES * 4 // 3 if data_format == "json" else MOST_ANSWER_BYTES


def _answer(headers: Properties, body: bytes, sent: Parcel, data_format: Format) -> Answer:
    return Answer(tuple(decode_answer(headers, body, sent, data_format)))


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body.

    Raises:
        WireError: It is longer than `most`.
    """
    if (response.content_length or 0) <= most:
        parts, size = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > most:
                break
        else:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    response.close()
    raise WireError(f"The answer is longer than {most} bytes.", code="answer")


async def _refusal(response: aiohttp.ClientResponse) -> Fault:
    """What an answer of 400 and more says."""
    status = response.status
    try:
        said = decode_error(await _read(response, MOST_ERROR_BYTES))
        sentence = " ".join(said.split())[:MOST_WORDS]
    except WireError:
        sentence = "a long page"
    message = f"HTTP {status}: {sentence}"
    if status in FOR_GOOD:
        return Fault(REFUSED, message, passing=False)
    return Fault(ERROR, message, rest_s=_seconds(response.headers.get("Retry-After", "")))


def _seconds(text: str) -> float:
    """A `Retry-After` in seconds (RFC 9110, 10.2.3); a date is not worth its parsing here."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
