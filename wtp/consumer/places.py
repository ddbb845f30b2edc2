"""Which topics to read: do they exist, are they partitioned, and what is there instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from wtp.broker import access
from wtp.broker.naming import TopicName, parse_topic
from wtp.consumer.ports import Directory
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused

POLL_S = 0.25
CONNECT_S = 5.0
"""Longest wait for a connection; a process on a busy machine may itself stand still for 2 s."""
SHOWN = 20
"""Names listed at most in an error."""

WAIT = "--wait waits until it is there."

SCHEMES = ("pulsar", "pulsar+ssl", "ws", "wss")


@dataclass(frozen=True, slots=True)
class Found:
    """Topics to read.

    Attributes:
        topics: The topic itself, or its partitions.
        fresh: Whether it came into being while we waited: then all of it is new.
    """

    topics: tuple[str, ...]
    fresh: bool = False


async def locate(
    topic: str, directory: Directory | None, *, wait: bool, note: Callable[[str], None]
) -> Found:
    """Find a topic.

    Args:
        topic: Full topic name.
        directory: The broker's directory; None, or one that does not answer, means that the topic
            is taken on trust: the broker will say.
        wait: Wait until it exists.
        note: Is told, once, what is being waited for.

    Raises:
        NotFound: There is no such room or topic; the hint names those there are.
    """
    name = parse_topic(topic)
    waited = False
    while True:
        try:
            return Found(await _look(name, directory, note), waited)
        except NotFound as error:
            if not wait:
                raise
            if not waited:
                note(f"{error.message} Waiting for it.")
            waited = True
        await asyncio.sleep(POLL_S)


async def _look(
    name: TopicName, directory: Directory | None, note: Callable[[str], None]
) -> tuple[str, ...]:
    if directory is None:
        return (str(name),)
    try:
        names = await directory.list_topics(name.namespace_path, each_partition=True)
        listed = [parse_topic(text) for text in names]
    except NotFound:
        raise await no_room(name, directory) from None
    except (BrokerError, Refused) as error:
        note(f"The broker's admin API cannot be asked which topics exist: {error.message}")
        return (str(name),)
    parts = sorted((t for t in listed if t.partition >= 0 and t.whole == name), key=_number)
    if parts:
        return tuple(str(part) for part in parts)
    # A non-persistent topic is listed only while somebody uses it.
    if name in listed or not name.persistent:
        return (str(name),)
    known = sorted({t.whole.local for t in listed})
    raise NotFound(
        f"Room {name.namespace!r} has no topic {name.local!r}.",
        hint=f"{listing('It has', known)} {WAIT}",
    )


def _number(topic: TopicName) -> int:
    return topic.partition


async def no_room(name: TopicName, directory: Directory, hint: str = WAIT) -> NotFound:
    """The error for a topic whose room is not there: it names those that are.

    Args:
        name: The topic.
        directory: The broker's.
        hint: What else can be done.
    """
    try:
        spaces = await directory.namespaces(name.tenant)
    except (BrokerError, Refused):
        spaces = []
    rooms = listing("Rooms are", sorted(space.rpartition("/")[2] for space in spaces))
    return NotFound(f"There is no room {name.namespace!r}.", hint=f"{rooms} {hint}".rstrip())


def listing(start: str, names: list[str]) -> str:
    """A sentence that lists names, as many as fit an error."""
    if not names:
        return f"{start}: none."
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{start}: {', '.join(names[:SHOWN])}{more}."


def addresses(url: str) -> list[tuple[str, int]]:
    """Hosts and ports of `pulsar://a:1,b:2`, or of the URL of a WebSocket API.

    Raises:
        BrokerUnavailable: It is no broker URL.
    """
    return [(one.host, one.port) for one in access.addresses(url, *SCHEMES)]


async def answers(url: str) -> bool:
    """Whether something accepts a connection at one of the addresses of a broker URL."""
    for host, port in addresses(url):
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            continue
        writer.close()
        return True
    return False


async def reach(url: str, *, wait: bool, note: Callable[[str], None]) -> None:
    """Make sure that something listens at the broker URL, before its client tries for long.

    Raises:
        BrokerUnavailable: Nothing does, or it is no URL.
    """
    told = False
    while not await answers(url):
        if not wait:
            raise BrokerUnavailable(
                f"No broker answers at {access.shown(url)}.",
                hint=f"Start one (wtp broker), or give its URL: {_option(url)}.",
            )
        if not told:
            note(f"No broker answers at {access.shown(url)}. Waiting for it.")
        told = True
        await asyncio.sleep(POLL_S)


def _option(url: str) -> str:
    if url.startswith("ws"):
        return "--admin http://HOST:8080, or WTP_BROKER_WEBSOCKET"
    return "--broker pulsar://HOST:6650"
