"""Start the embedded broker when it is wanted and nothing answers at its URL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit

from wtp.children.child import Child
from wtp.config.address import is_loopback, join_address
from wtp.config.load import broker_folder
from wtp.config.schema import Settings
from wtp.errors import BrokerUnavailable, WtpError

CONNECT_S = 0.5
"""Seconds a TCP connect to this machine may take before it counts as no answer."""

START_S = 15.0
"""Seconds the embedded broker may take to start; it may have a large folder to recover."""

BROKER_PORT = 6650
ADMIN_PORT = 8080


def host_port(url: str, default_port: int) -> tuple[str, int]:
    """Host and port of a URL.

    Raises:
        BrokerUnavailable: The URL has no host, or a port that is none.
    """
    try:
        parts = urlsplit(url)
        if parts.hostname and "@" not in parts.netloc:
            return parts.hostname, parts.port or default_port
    except ValueError:
        pass
    raise BrokerUnavailable(
        f"{url.rpartition('@')[2]!r} is not a broker URL.",
        hint="Write pulsar://HOST:6650.",
        code="bad-url",
    )


async def answers(host: str, port: int, timeout: float = CONNECT_S) -> bool:
    """Whether something accepts TCP connections there."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def broker_args(settings: Settings) -> list[str]:
    """Words that start the embedded broker where the settings' URLs point to."""
    host, port = host_port(settings.broker.url, BROKER_PORT)
    http_host, http_port = host_port(settings.broker.admin, ADMIN_PORT)
    http = join_address(http_host, http_port) if is_loopback(http_host) else settings.broker.http
    return [
        "broker",
        "--listen", join_address(host, port),
        "--http", http,
        "--data", str(broker_folder(settings)),
        "--fsync", settings.broker.fsync,
    ]  # fmt: skip


async def ensure_broker(
    settings: Settings, *, say: Callable[[str], None] = lambda _: None
) -> Child | None:
    """Start the embedded broker as a child when the settings allow it and nothing answers.

    Args:
        settings: `broker.start` must be on and `broker.url` be one address on this machine,
            without TLS: several hosts or TLS mean a cluster.
        say: Told in a sentence what was started.

    Returns:
        The child, ready; None when none was needed. Whoever called stops it.

    Raises:
        WtpError: It did not start, e.g. its folder is in use by another process; the error is
            the one it gave itself.
    """
    url = settings.broker.url
    if not settings.broker.start or not url.startswith("pulsar://") or "," in url:
        return None
    host, port = host_port(settings.broker.url, BROKER_PORT)
    if not is_loopback(host) or await answers(host, port):
        return None
    child = await Child(broker_args(settings)).start()
    try:
        async with asyncio.timeout(START_S):
            await asyncio.shield(child.ready)
    except TimeoutError:
        await child.stop(1.0)
        raise BrokerUnavailable(
            f"The embedded broker was not ready after {START_S:.0f} s.",
            hint=child.stderr_tail or "Start it by hand to see why: wtp broker",
        ) from None
    except WtpError:
        await child.stop(1.0)
        if await answers(host, port):  # another process was faster
            return None
        raise
    except BaseException:
        await child.stop(1.0)
        raise
    child.info.setdefault("data", str(broker_folder(settings)))
    say(
        f"Nothing answered at {settings.broker.url}: started the embedded broker, "
        f"data in {broker_folder(settings)}."
    )
    return child
