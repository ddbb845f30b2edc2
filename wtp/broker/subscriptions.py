"""Subscriptions and stored messages of a topic, whatever its number of partitions.

A real Pulsar moves and shows subscriptions of single partitions only, and it creates a missing one
when that is to be moved or looked at: so here every partition is asked by itself, and nothing is
done to a subscription before it is seen to exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from wtp.broker.client import BrokerClient
from wtp.broker.naming import parse_topic
from wtp.broker.topics import Admin
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, UsageError

ACTIVITY = (
    "lastConsumedTimestamp",
    "lastAckedTimestamp",
    "lastConsumedFlowTimestamp",
    "lastMarkDeleteAdvancedTimestamp",
)
"""Pulsar's times of what happened to a subscription last, Unix ms, 0 for never."""

EARLIEST = (-1, -1)
LATEST = (2**63 - 1, 2**63 - 1)
"""Pulsar's message ids (ledger, entry) of a topic's two ends."""

READ_S = 5.0
"""Longest wait for messages that are known to be there."""

REST_S = 0.2
"""Wait for the rest of a batch once its first message has come."""

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """One subscription of a topic, its partitions added up.

    Attributes:
        name: Its name.
        kind: `exclusive`, `shared`, `failover` or `key_shared`; empty before the first consumer.
        durable: Whether it outlives its consumers.
        consumers: Consumers connected now; one that reads several partitions counts once.
        backlog: Entries (a batch counts once) that are not acknowledged.
        unacked: Messages that consumers have and did not acknowledge yet.
        active_ms: When something was consumed or acknowledged last, Unix ms; None when unknown.
    """

    name: str
    kind: str
    durable: bool
    consumers: int
    backlog: int
    unacked: int
    active_ms: int | None


@dataclass(frozen=True, slots=True)
class Peeked:
    """A stored message.

    Attributes:
        topic: The topic or partition that holds it.
        position: `ledger:entry`, with `:index` for one of a batch.
        publish_ms: When its producer published it, Unix ms; None when that cannot be read.
        key: Its key, empty without one.
        properties: Its properties.
        payload: Its bytes.
        batch: Messages in the payload: 1, or those of a batch that is shown whole.
    """

    topic: str
    position: str
    publish_ms: int | None
    key: str
    properties: Mapping[str, str]
    payload: bytes
    batch: int = 1


async def parts_of(admin: Admin, topic: str) -> list[str]:
    """The partitions of a topic, or the topic itself when it has none; NotFound."""
    count = await admin.partitions(topic)
    name = parse_topic(topic)
    return [str(name.part(number)) for number in range(count)] or [topic]


async def states(admin: Admin, topic: str) -> list[SubscriptionState]:
    """The subscriptions of a topic, sorted by name; NotFound."""
    stats = await admin.stats(topic)
    found = stats.get("subscriptions") or {}
    parts = stats.get("partitions") or {}
    return [_state(name, found[name], parts) for name in sorted(found)]


def _state(name: str, one: Mapping[str, Any], parts: Mapping[str, Any]) -> SubscriptionState:
    shares = [
        (part.get("subscriptions") or {})[name]
        for part in parts.values()
        if name in (part.get("subscriptions") or {})
    ] or [one]
    kinds = [str(share["type"]) for share in shares if share.get("type") not in (None, "None")]
    times = [int(share.get(key) or 0) for share in shares for key in ACTIVITY]
    return SubscriptionState(
        name=name,
        kind=kinds[0].lower() if kinds else "",
        durable=bool(one.get("isDurable", True)),
        consumers=max(len(share.get("consumers") or []) for share in shares),
        backlog=int(one.get("msgBacklog") or 0),
        unacked=int(one.get("unackedMessages") or 0),
        active_ms=max(times) or None,
    )


async def state(admin: Admin, topic: str, subscription: str) -> SubscriptionState:
    """One subscription; NotFound names those there are."""
    found = await states(admin, topic)
    for one in found:
        if one.name == subscription:
            return one
    known = ", ".join(one.name for one in found[:20])
    hint = f"Its subscriptions are: {known}." if known else "It has no subscriptions."
    raise NotFound(f"{topic} has no subscription {subscription!r}.", hint=hint)


async def backlogs(admin: Admin, topic: str, subscription: str = "") -> list[dict[str, Any]]:
    """What is not acknowledged, by subscription and partition.

    Args:
        admin: The broker.
        topic: Full name.
        subscription: Only this one; empty for all.

    Returns:
        Rows of `subscription`, `topic` (the partition, when there are several), `backlog` in
        entries, `backlog_bytes` (None when the broker does not say) and `unacked`.

    Raises:
        NotFound: No such topic or subscription.
    """
    if subscription:
        await state(admin, topic, subscription)
    rows = []
    for part in await parts_of(admin, topic):
        stats = await admin.stats(part)
        for name, one in sorted((stats.get("subscriptions") or {}).items()):
            if subscription in ("", name):
                rows.append(
                    {
                        "subscription": name,
                        "topic": part,
                        "backlog": int(one.get("msgBacklog") or 0),
                        "backlog_bytes": _known(one.get("backlogSize")),
                        "unacked": int(one.get("unackedMessages") or 0),
                    }
                )
    return sorted(rows, key=lambda row: str(row["subscription"]))


def _known(size_bytes: object) -> int | None:
    return size_bytes if isinstance(size_bytes, int) and size_bytes >= 0 else None


async def reset(
    admin: Admin, topic: str, subscription: str, target: Literal["earliest", "latest"] | int | str
) -> None:
    """Move a subscription in every partition.

    Args:
        admin: The broker.
        topic: Full name.
        subscription: Its name; it must exist.
        target: `earliest`, `latest`, a publish time in Unix ms, or the `ledger:entry` of the
            message that comes next.

    Raises:
        NotFound: No such topic or subscription, or no such message.
        UsageError: A message id cannot say where in several partitions.
    """
    await state(admin, topic, subscription)
    parts = await parts_of(admin, topic)
    goal: int | Position
    if target == "earliest":
        goal = EARLIEST
    elif target == "latest":
        goal = LATEST
    elif isinstance(target, int):
        goal = target
    else:
        if len(parts) > 1 or parts[0] != topic:
            raise UsageError(
                f"{target} is a message of one partition, and {topic} has {len(parts)}.",
                hint=f"Name the partition ({parts[0]} ...), or give a time.",
            )
        ledger, entry = target.split(":")
        goal = await _check_there(admin, topic, (int(ledger), int(entry)))
    for part in parts:
        await admin.reset_cursor(part, subscription, goal)


async def _check_there(admin: Admin, topic: str, position: Position) -> Position:
    """Return a position when the topic holds it; a Pulsar would go elsewhere without a word."""
    held = _ledgers(await admin.internal_stats(topic))
    if any(ledger == position[0] and 0 <= position[1] < entries for ledger, entries in held):
        return position
    ends = [entry for entry in held if entry[1]]
    hint = "It holds no messages."
    if ends:
        hint = f"It holds {ends[0][0]}:0 to {ends[-1][0]}:{ends[-1][1] - 1}."
    raise NotFound(f"{topic} has no message {position[0]}:{position[1]}.", hint=hint)


def _ledgers(stats: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Ledgers and their entries, oldest first; the open one's are told apart by Pulsar."""
    found = [(int(one["ledgerId"]), int(one["entries"])) for one in stats.get("ledgers") or []]
    if found:
        ledger, entries = found[-1]
        found[-1] = ledger, max(entries, int(stats.get("currentLedgerEntries") or 0))
    return found


async def unsubscribe(admin: Admin, topic: str, subscription: str, *, force: bool) -> None:
    """Delete a subscription; NotFound names the known ones, `in-use` while it has consumers."""
    await state(admin, topic, subscription)
    await admin.delete_subscription(topic, subscription, force=force)


async def peek_backlog(admin: Admin, topic: str, subscription: str, count: int) -> list[Peeked]:
    """The next messages of a subscription, without taking them.

    Args:
        admin: The broker.
        topic: Full name.
        subscription: Its name; it must exist.
        count: Entries at most, from every partition.
    """
    await state(admin, topic, subscription)
    found: list[Peeked] = []
    for part in await parts_of(admin, topic):
        for nth in range(1, count + 1):
            try:
                one = await admin.peek(part, subscription, nth)
            except NotFound:
                break
            found.append(
                Peeked(
                    topic=part,
                    position=one.message_id,
                    publish_ms=_unix_ms(one.publish_time),
                    key=_latin(one.headers.get("x-pulsar-partition-key", "")),
                    properties={_latin(k): _latin(v) for k, v in one.properties.items()},
                    payload=one.payload,
                    batch=one.batch,
                )
            )
    return sorted(found, key=_when)[:count]


async def peek_newest(admin: Admin, client: BrokerClient, topic: str, count: int) -> list[Peeked]:
    """The newest messages of a topic, oldest first, by a reader that leaves no trace.

    Args:
        admin: The broker's admin side.
        client: The broker.
        topic: Full name.
        count: Messages at most.
    """
    found: list[Peeked] = []
    for part in await parts_of(admin, topic):
        start = _step_back(_ledgers(await admin.internal_stats(part)), count)
        if start is not None:
            found += await _read(client, part, start, count)
    return sorted(found, key=_when)[-count:]


def _latin(text: str) -> str:
    """Text of a header as its sender meant it: Pulsar's web server writes Latin-1, not UTF-8."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _when(one: Peeked) -> int:
    return one.publish_ms or 0


def _unix_ms(text: str) -> int | None:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None


def _step_back(ledgers: list[tuple[int, int]], count: int) -> str | None:
    """Position so many entries before the end; None when there are none."""
    start = None
    for ledger, entries in reversed(ledgers):
        if entries:
            start = f"{ledger}:{max(0, entries - count)}"
        count -= entries
        if count <= 0:
            break
    return start


async def _read(client: BrokerClient, topic: str, start: str, count: int) -> list[Peeked]:
    """The last messages from a position up to the end of now."""
    end = await client.last_position(topic)
    found: list[Peeked] = []
    if end is None:
        return found
    reader = await client.reader(topic, start=start, queue=max(10, min(count, 1000)))
    patience_s = READ_S
    try:
        while True:
            async with asyncio.timeout(patience_s):
                one = await reader.receive()
            found.append(
                Peeked(
                    topic, one.position, one.publish_ms, one.key, dict(one.properties), one.payload
                )
            )
            del found[:-count]
            if _place(one.position) >= _place(end):
                patience_s = REST_S
    except TimeoutError:
        if not found:
            raise BrokerUnavailable(
                f"{topic} has messages up to {end}, but none came in {READ_S:.0f} s.",
                hint="Try again; wtp topics describe shows what it holds.",
            ) from None
        return found
    finally:
        await reader.close()


def _place(position: str) -> Position:
    ledger, entry, *_ = (int(part) for part in position.split(":"))
    return ledger, entry


def in_use(topic: str, subscription: str) -> BrokerError:
    """That a subscription has consumers."""
    return BrokerError(
        f"Subscription {subscription!r} of {topic} has consumers.",
        hint="Stop them, or delete it under them with --force.",
        code="in-use",
    )
