"""Knock at a broker's door and say, in a sentence, why it does not open.

The client library answers a wrong token, a wrong certificate, a wrong port and an HTTP server all
with `TimeOut` after 5 to 17 s, and keeps the reason in its log. So before its first use a client
of ours knocks itself: TCP, TLS and the protocol's CONNECT, which take a few ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import NoReturn

from wtp import __version__
from wtp.broker.access import Address, addresses, shown, ssl_context, token
from wtp.broker.accessfaults import no_pulsar, refusal, silent, tls_fault, untrusted, wants_tls
from wtp.broker.embedded.answers import Connected, Error
from wtp.broker.embedded.frames import MAX_MESSAGE_BYTES, FrameParser, command
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.embedded.protobuf import Message, pb
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable, WireError, WtpError

CONNECT_S = 4.0
"""Longest wait for a connection; on a busy machine we may ourselves stand still for 2 s."""

ANSWER_S = 4.0
"""Longest wait for TLS, and for an answer; a broker in need of memory pauses for seconds."""

LEAVE_S = 0.2
"""Longest wait for the end of a connection that was aborted."""

PROTOCOL = 21
"""Version of the protocol that is asked for: that of Pulsar 3 and 4."""

OLDEST_PROTOCOL = 12
"""First version with GET_LAST_MESSAGE_ID, on which joining and replaying rest (Pulsar 2.0)."""

TLS_ALERT, TLS_HANDSHAKE = 0x15, 0x16
"""First bytes of TLS records (RFC 8446, section 5.1)."""

START_HINT = "Start one (wtp broker), or give its URL: --broker pulsar://HOST:6650."


@dataclass(slots=True)
class _Connect(Message):
    client_version: str = pb(1, "string", required=True, default="")
    auth_data: bytes | None = pb(3, "bytes")
    protocol_version: int = pb(4, "int", default=0)
    auth_method_name: str | None = pb(5, "string")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a broker that let us in says.

    Attributes:
        version: Its name and version.
        protocol: Version of the protocol that was agreed on.
        max_message_bytes: Largest message that it takes.
    """

    version: str
    protocol: int
    max_message_bytes: int


async def knock(broker: BrokerSettings) -> Entry:
    """Go in at the first of the broker's addresses that opens; all are tried at once.

    Raises:
        BrokerUnavailable: Nothing usable answers; `code` is `no-answer`, `unknown-host`,
            `silent`, `tls-trust`, `tls-name`, `tls-expired`, `tls`, `tls-wanted`, `no-tls`,
            `no-pulsar`, `old-broker` or `bad-url`.
        Refused: `code` is `token-missing`, `token-expired`, `token-refused` or `cert-refused`.
        ConfigError: A file of the settings cannot be used.
    """
    places = addresses(broker.url)
    secret = await asyncio.to_thread(token, broker)
    faults: list[WtpError] = []
    tries = {asyncio.create_task(_enter(place, broker, secret)) for place in places}
    try:
        for tried in asyncio.as_completed(tries):
            try:
                return await tried
            except WtpError as error:
                faults.append(error)
    finally:
        for task in tries:
            task.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
    raise _telling(faults, broker)


def _telling(faults: list[WtpError], broker: BrokerSettings) -> WtpError:
    """Of several faults the one that says most; that nothing answers says least."""
    known = [one for one in faults if one.code not in ("no-answer", "unknown-host")]
    if known or len(faults) == 1:
        return (known or faults)[0]
    return BrokerUnavailable(
        f"No broker answers at {shown(broker.url)}.", hint=START_HINT, code="no-answer"
    )


PASSING = ("no-answer", "unknown-host", "not-ready", "silent")
"""Codes of faults that a broker which is still starting, or hangs for a while, has, too."""


async def check_access(broker: BrokerSettings) -> None:
    """Fail when the broker is there and will not let us in; one that is away may come later.

    Raises:
        WtpError: As `knock`, without the faults that may pass.
    """
    try:
        await knock(broker)
    except WtpError as error:
        if error.code not in PASSING:
            raise


async def _enter(place: Address, broker: BrokerSettings, secret: str) -> Entry:
    reader, writer = await _reach(place)
    context = None
    try:
        if place.secure:  # reading the system's trust takes 0.1 s: not for one who is away
            context = await asyncio.to_thread(ssl_context, broker)
            await _secure(place, writer, context)
        hello = _Connect(client_version=f"wtp {__version__}", protocol_version=PROTOCOL)
        if secret:
            hello.auth_method_name, hello.auth_data = "token", secret.encode()
        elif place.secure and broker.cert:
            hello.auth_method_name = "tls"
        try:
            first = await _ask(reader, writer, hello)
        except TimeoutError:
            raise silent(place, ANSWER_S) from None
        except OSError:
            first = b""
    finally:
        await _leave(writer)
    if not first:
        if context is not None:
            await _listen(place, context, broker)
        await _closed(place)
    return _read(first, place, broker, secret)


async def _reach(place: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = place.url
    try:
        async with asyncio.timeout(CONNECT_S):
            return await asyncio.open_connection(place.host, place.port)
    except TimeoutError:
        why, code = f"No broker answers at {url} within {CONNECT_S:.0f} s.", "no-answer"
    except OSError as error:
        code = "no-answer"
        why = f"No broker answers at {url}."
        if error.errno is not None and error.errno < 0:  # getaddrinfo's numbers
            why, code = f"The host of {url} is unknown.", "unknown-host"
    raise BrokerUnavailable(why, hint=START_HINT, code=code)


async def _secure(place: Address, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    name = place.host if context.check_hostname else None
    try:
        await writer.start_tls(
            context, server_hostname=name or place.host, ssl_handshake_timeout=ANSWER_S
        )
    except ssl.SSLCertVerificationError as error:
        raise untrusted(place, error) from error
    except (OSError, TimeoutError) as error:
        if await _speaks_openly(place):
            scheme = "pulsar" if place.scheme == "pulsar+ssl" else "http"
            raise BrokerUnavailable(
                f"The broker at {place.url} does not speak TLS on this port.",
                hint=f"Write {scheme}://{place.host}:{place.port}, or give the port for TLS "
                "(6651 mostly).",
                code="no-tls",
            ) from error
        if isinstance(error, ConnectionAbortedError):  # asyncio's time-out of a handshake
            raise silent(place, ANSWER_S) from error
        raise no_pulsar(place, "does not answer as a TLS server does") from error


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: _Connect
) -> bytes:
    """Send CONNECT; return what came first, empty when the connection was closed instead.

    Who greets in another protocol and then waits for us is not waited for.

    Raises:
        TimeoutError: Nothing came.
    """
    first = b""
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(command(Cmd.CONNECT, hello))
            await writer.drain()
            while len(first) < 4 or len(first) - 4 < _size(first) <= MAX_ANSWER_BYTES:
                more = await reader.read(4096)
                if not more:
                    break
                first += more
    except TimeoutError:
        if not first:
            raise
    return first


def _size(frame: bytes) -> int:
    """Bytes that a frame announces behind its first four."""
    return int.from_bytes(frame[:4])


MAX_ANSWER_BYTES = 64 * 1024
"""An answer to CONNECT that is longer is none."""


async def _leave(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(LEAVE_S):  # after a handshake that took too long it never ends
            await writer.wait_closed()


async def _listen(place: Address, context: ssl.SSLContext, broker: BrokerSettings) -> None:
    """Hear why a server closes after TLS; with TLS 1.3 it refuses a certificate only then.

    Nothing is sent: what arrives at a closed socket makes it reset the connection, and the reason
    is lost.

    Raises:
        WtpError: It said why.
    """
    reader, writer = await _reach(place)
    try:
        await _secure(place, writer, context)
        async with asyncio.timeout(ANSWER_S):
            await reader.read(1)
    except ssl.SSLError as error:
        raise tls_fault(place, error, broker) from error
    except (OSError, TimeoutError):
        return
    finally:
        await _leave(writer)


async def _closed(place: Address) -> NoReturn:
    """Say why a broker may have closed the connection without a word."""
    if not place.secure and await speaks_tls(place):
        raise wants_tls(place)
    raise no_pulsar(place, "closes the connection without an answer")


async def speaks_tls(place: Address) -> bool:
    """Whether a port shakes hands in TLS; nothing is sent through it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        _, writer = await _reach(place)
    except BrokerUnavailable:
        return False
    try:
        await writer.start_tls(context, ssl_handshake_timeout=ANSWER_S)
    except (OSError, TimeoutError):
        return False
    finally:
        await _leave(writer)
    return True


async def _speaks_openly(place: Address) -> bool:
    """Whether a port answers CONNECT without TLS; no secret is sent."""
    try:
        reader, writer = await _reach(place)
    except BrokerUnavailable:
        return False
    try:
        hello = _Connect(client_version=f"wtp {__version__}", protocol_version=PROTOCOL)
        parser = FrameParser(MAX_ANSWER_BYTES)
        return bool(parser.feed(await _ask(reader, writer, hello)))
    except (OSError, TimeoutError):
        return False
    finally:
        await _leave(writer)


def _read(first: bytes, place: Address, broker: BrokerSettings, secret: str) -> Entry:
    """Understand the answer to CONNECT.

    Raises:
        WtpError: As `knock`.
    """
    if first[0] in (TLS_ALERT, TLS_HANDSHAKE):
        raise wants_tls(place)
    if first.startswith(b"HTTP/"):
        raise no_pulsar(place, "is an HTTP server")
    frames = FrameParser(MAX_ANSWER_BYTES).feed(first)
    if not frames:
        raise no_pulsar(place, "does not answer as a Pulsar does")
    kind, body, _ = frames[0]
    try:
        if kind == Cmd.ERROR:
            raise refusal(Error.decode(body), place, broker, secret)
        if kind != Cmd.CONNECTED:  # an exchange of further secrets: the client's business
            return Entry("", PROTOCOL, MAX_MESSAGE_BYTES)
        answer = Connected.decode(body)
    except WireError as error:
        raise no_pulsar(place, "does not answer as a Pulsar does") from error
    if answer.protocol_version < OLDEST_PROTOCOL:
        raise BrokerUnavailable(
            f"The broker at {place.url} ({answer.server_version[:80]!r}) speaks version "
            f"{answer.protocol_version} of Pulsar's protocol; {OLDEST_PROTOCOL} is the least.",
            hint="Use Pulsar 2.0 or newer.",
            code="old-broker",
        )
    size = answer.max_message_size or MAX_MESSAGE_BYTES
    return Entry(answer.server_version, answer.protocol_version, size)
