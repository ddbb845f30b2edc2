"""The broker: whether it lets us in, what it takes, what a room promises, what we may do."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from wtp.broker.access import addresses, shown
from wtp.broker.accessprobe import Entry, knock
from wtp.broker.adminhttp import AdminHttp
from wtp.broker.adminvalues import Policies
from wtp.broker.naming import room_namespace
from wtp.broker.topics import Admin
from wtp.clock import monotonic_us
from wtp.config.address import is_loopback
from wtp.config.schema import BrokerSettings, Settings
from wtp.doctor.finding import Finding, State, Subject
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused, WtpError
from wtp.ui.common import counted

T = TypeVar("T")

WHY = "Everything that is published goes through the broker, and comes from it."
WHY_LIMITS = "A picture or a chunk that is larger than what the broker takes is lost."
WHY_ROOM = "Replay needs retention; that nothing is stored twice needs de-duplication."
WHY_RIGHTS = "The router produces and consumers consume with the rights of their token."

KNOCK_S, ADMIN_S, TRY_S = 2.4, 2.8, 2.4
"""Longest waits for the protocol's CONNECT, for one admin answer, and for a producer or reader."""

MEDIA_BYTES = 4 * 1024 * 1024 + 64 * 1024
"""Largest media object (DESIGN, section 2) with its properties."""

KNOCKS = 3
"""The quickest counts: the other checks run at the same time."""

SLOW_MS = 50.0
"""Connecting takes about three round trips; a live stream may take 10 ms as a whole."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the admin side said; what it did not say is an error.

    Attributes:
        policies: Of the room's namespace.
        topics: Of the room.
        runtime: The broker's configuration, which often only a super-user may read.
    """

    policies: Policies | WtpError
    topics: list[str] | WtpError
    runtime: Mapping[str, Any] | WtpError


async def look(subject: Subject) -> list[Finding]:
    """Knock at both doors at once; then try what the token allows on topics that exist."""
    settings = subject.settings
    began_us = monotonic_us()
    entry, desk = await asyncio.gather(_enter(settings.broker), _ask(settings))
    waited_ms = (monotonic_us() - began_us) / 1000
    where = shown(settings.broker.url)
    if isinstance(entry, WtpError):
        return [judge_absence(entry, where, named=subject.broker_named)]
    entered, entry_ms = entry
    room = _namespace(settings)
    findings = [judge(entered, entry_ms, where), judge_limits(entered, desk.runtime)]
    findings.append(judge_room(desk, room, settings))
    if settings.broker.token or settings.broker.token_file or settings.broker.cert:
        left_s = max(0.3, TRY_S - waited_ms / 1000)
        findings.append(await _rights(settings.broker, desk.topics, left_s))
    else:
        found = "no token is used: the broker knows us as nobody in particular"
        findings.append(Finding("broker-rights", State.OK, found, WHY_RIGHTS))
    return findings


async def _enter(broker: BrokerSettings) -> tuple[Entry, float] | WtpError:
    entry: Entry | None = None
    quickest_ms = KNOCK_S * 1000
    try:
        async with asyncio.timeout(KNOCK_S):
            for _ in range(KNOCKS):
                began_us = monotonic_us()
                entry = await knock(broker)
                quickest_ms = min(quickest_ms, (monotonic_us() - began_us) / 1000)
    except TimeoutError:
        pass
    except WtpError as error:
        return error
    if entry is None:
        where = shown(broker.url)
        return BrokerUnavailable(f"{where} does not answer within {KNOCK_S:g} s.", code="no-answer")
    return entry, quickest_ms


def _namespace(settings: Settings) -> str:
    return room_namespace(settings.topics.template, settings.rooms.room)


async def _ask(settings: Settings) -> Desk:
    """Ask the admin side, everything at once."""
    try:
        namespace = _namespace(settings)
        admin = Admin(settings.broker.admin, settings.broker, timeout=ADMIN_S)
        http = AdminHttp(settings.broker.admin, settings.broker, ADMIN_S)
    except WtpError as error:
        return Desk(error, error, error)
    try:
        policies, topics, runtime = await asyncio.gather(
            _or_error(lambda: admin.policies(namespace)),
            _or_error(lambda: admin.list_topics(namespace)),
            _or_error(lambda: http.json("GET", "/brokers/configuration/runtime")),
        )
    finally:
        await admin.close()
        await http.close()
    known = isinstance(runtime, (dict, WtpError))
    return Desk(policies, topics, runtime if known else {})


async def _or_error(ask: Callable[[], Awaitable[T]]) -> T | WtpError:
    try:
        return await ask()
    except WtpError as error:
        return error


def judge_absence(error: WtpError, where: str, *, named: bool) -> Finding:
    """Judge why the broker does not let us in."""
    if error.code not in ("no-answer", "unknown-host"):
        return Finding("broker", State.FAULT, error.message, WHY, error.hint)
    mend = "wtp broker"
    if named:
        found = f"{where} does not answer"
        if error.code == "unknown-host":
            found, mend = error.message, "Correct the URL: --broker pulsar://HOST:6650"
        elif not all(is_loopback(place.host) for place in addresses(where)):
            mend = (
                "Start it, let its TCP port pass, or correct the URL: --broker pulsar://HOST:6650"
            )
        return Finding("broker", State.FAULT, found, WHY, mend)
    found = f"none runs at {where}; wtp router and wtp demo start one"
    return Finding("broker", State.UNKNOWN, found, WHY, mend)


def judge(entry: Entry, entry_ms: float, where: str) -> Finding:
    """Judge a broker that let us in."""
    version = entry.version or "of an unknown version"
    found = (
        f"{where}: {version}, protocol {entry.protocol}, connected and known in {entry_ms:.1f} ms"
    )
    if entry_ms > SLOW_MS:
        mend = "Run the router beside the broker; this machine may also be busy (uptime)."
        return Finding("broker", State.WARNING, f"{found}: slow", WHY, mend)
    return Finding("broker", State.OK, found, WHY)


def judge_limits(entry: Entry, runtime: Mapping[str, Any] | WtpError) -> Finding:
    """Judge what the broker takes, and settings of Pulsar that cost latency."""
    size = entry.max_message_bytes
    found = f"messages up to {size / 2**20:.1f} MiB"
    if size < MEDIA_BYTES:
        mend = "Set maxMessageSize=5242880 in broker.conf and start it again."
        found += ", media objects may have 4"
        return Finding("broker-limits", State.WARNING, found, WHY_LIMITS, mend)
    if isinstance(runtime, WtpError):
        found += "; its configuration may not be read"
        return Finding("broker-limits", State.OK, found, WHY_LIMITS)
    delay = _number(runtime, "managedLedgerNewEntriesCheckDelayInMillis")
    if delay:
        found += f"; readers at the end of a topic wait up to {delay} ms for what is new"
        mend = "Set managedLedgerNewEntriesCheckDelayInMillis=0 in broker.conf."
        return Finding("broker-limits", State.WARNING, found, WHY_LIMITS, mend)
    text = _number(runtime, "webSocketMaxTextFrameSize")
    if text:
        found += f", {text * 3 / 4 / 2**20:.1f} MiB through its WebSocket API"
    return Finding("broker-limits", State.OK, found, WHY_LIMITS)


def _number(values: Mapping[str, Any], key: str) -> int:
    with contextlib.suppress(TypeError, ValueError):
        return int(values.get(key) or 0)
    return 0


def judge_room(desk: Desk, namespace: str, settings: Settings) -> Finding:
    """Judge the namespace behind the room."""
    policies = desk.policies
    room = shlex.quote(settings.rooms.room)
    if isinstance(policies, NotFound):
        if settings.rooms.create:
            found = f"namespace {namespace} does not exist yet; the router makes it"
            return Finding("room", State.OK, found, WHY_ROOM)
        found = f"namespace {namespace} does not exist, and the router may not make it"
        mend = f"wtp topics create video --room {room}"
        return Finding("room", State.WARNING, found, WHY_ROOM, mend)
    if isinstance(policies, BrokerUnavailable):
        found = f"the admin side does not answer: {policies.message}"
        return Finding("room", State.WARNING, found, WHY_ROOM, policies.hint)
    if isinstance(policies, WtpError):
        found = f"its promises may not be read: {policies.message}"
        return Finding("room", State.UNKNOWN, found, WHY_ROOM, policies.hint)
    count = "" if isinstance(desk.topics, WtpError) else f", {counted(len(desk.topics), 'topic')}"
    found = f"{namespace}: {_kept(policies)}, {_once(policies)}{count}"
    if not policies.deduplication:
        mend = f"pulsar-admin namespaces set-deduplication --enable {shlex.quote(namespace)}"
        return Finding("room", State.WARNING, found, WHY_ROOM, mend)
    if not (policies.retention_minutes and policies.retention_mb):
        mend = f"wtp topics retention --room {room} --set 24h,1GB"
        return Finding("room", State.WARNING, found, WHY_ROOM, mend)
    return Finding("room", State.OK, found, WHY_ROOM)


def _kept(policies: Policies) -> str:
    minutes, size = policies.retention_minutes, policies.retention_mb
    if not (minutes and size):
        return "nothing is kept once it is acknowledged"
    time = "for ever" if minutes < 0 else f"{minutes / 60:g} h"
    return f"kept {time}" + ("" if size < 0 else f" or {size} MiB a topic")


def _once(policies: Policies) -> str:
    return "exactly once" if policies.deduplication else "at least once (no de-duplication)"


async def _rights(
    broker: BrokerSettings, topics: Sequence[str] | WtpError, limit_s: float
) -> Finding:
    """Try to produce and to consume on a topic that exists; nothing is sent or acknowledged."""
    if isinstance(topics, WtpError) or not topics:
        found = "the token is accepted; the room has no topic to try producing and consuming on"
        if isinstance(topics, WtpError):
            found = "the token is accepted; topics may not be listed with it, so nothing was tried"
        return Finding("broker-rights", State.UNKNOWN, found, WHY_RIGHTS)
    topic = next((one for one in topics if one.startswith("persistent")), topics[0])
    from wtp.broker.connect import connect

    client = connect(broker)
    try:
        tries = {"produce": client.producer(topic), "consume": client.reader(topic)}
        outcomes = await asyncio.gather(*(_allowed(one, limit_s) for one in tries.values()))
    finally:
        await client.close()
    return judge_rights(dict(zip(tries, outcomes, strict=True)), topic)


async def _allowed(opening: Awaitable[Any], limit_s: float) -> bool | str:
    """Whether something could be opened; a sentence when that is not known."""
    try:
        async with asyncio.timeout(limit_s):
            await (await opening).close()
    except Refused:
        return False
    except TimeoutError:
        return f"no answer within {limit_s:.1f} s"
    except BrokerError as error:
        return error.message
    return True


def judge_rights(tries: Mapping[str, bool | str], topic: str) -> Finding:
    """Judge what could be opened.

    Args:
        tries: Whether it was allowed, by `produce` and `consume`; a sentence: not known.
        topic: What it was tried on.
    """
    words = []
    for right, outcome in tries.items():
        how = f"unknown ({outcome})" if isinstance(outcome, str) else "yes" if outcome else "no"
        words.append(f"{right} {how}")
    found = f"{topic}: {', '.join(words)}"
    if False in tries.values():
        missing = ",".join(right for right, outcome in tries.items() if outcome is False)
        namespace = topic.partition("://")[2].rpartition("/")[0]
        mend = (
            f"pulsar-admin namespaces grant-permission {namespace} --role ROLE --actions {missing}"
        )
        return Finding("broker-rights", State.WARNING, found, WHY_RIGHTS, mend)
    known = all(isinstance(outcome, bool) for outcome in tries.values())
    return Finding("broker-rights", State.OK if known else State.UNKNOWN, found, WHY_RIGHTS)
