"""`wtp topics peek`: stored messages, without taking them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wtp.cli.options import Admin, Broker, Profile, Room, load_settings
from wtp.cli.topics_common import (
    Format,
    Name,
    OutputFormat,
    complete_subscriptions,
    found,
    full_name,
    show,
)
from wtp.errors import UsageError

if TYPE_CHECKING:
    from wtp.broker.subscriptions import Peeked
    from wtp.broker.topics import Admin as Client
    from wtp.config.schema import Settings

MOST = 1000
"""Messages shown at once; more is what `wtp consume` is for."""


def add_to(app: typer.Typer) -> None:
    """Add the command to `wtp topics`."""
    app.command()(peek)


def escaped(payload: bytes) -> str:
    r"""The first bytes of a payload, in ASCII: what is no plain character stands as `\xff`."""
    from wtp.ui.topics import HEAD_BYTES

    return repr(payload[:HEAD_BYTES])[2:-1]


def values_of(one: Peeked) -> dict[str, Any]:
    """A message as plain values."""
    published = None
    if one.publish_ms is not None:
        moment = datetime.fromtimestamp(one.publish_ms / 1000, UTC)
        published = moment.isoformat(timespec="milliseconds")
    return {
        "topic": one.topic,
        "position": one.position,
        "published": published,
        "key": one.key or None,
        "batch": one.batch,
        "size_bytes": len(one.payload),
        "properties": dict(one.properties),
        "payload": escaped(one.payload),
    }


def peek(
    ctx: typer.Context,
    name: Name,
    subscription: Annotated[
        str,
        typer.Option(
            "--subscription",
            help="What this one gets next; without it the newest messages.",
            autocompletion=complete_subscriptions,
        ),
    ] = "",
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=MOST, help="Messages at most.")
    ] = 1,
    room: Room = None,
    broker: Broker = None,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:
    """Look at stored messages without taking them: size, properties, publish time, first bytes."""
    settings = load_settings(ctx)
    topic = full_name(settings, name)
    if not topic.persistent:
        raise UsageError(
            f"{topic} keeps no messages.", hint=f"Watch what comes: wtp consume --topic {topic}."
        )
    rows = [values_of(one) for one in asyncio.run(_peek(settings, str(topic), subscription, count))]
    from wtp.ui.topics import message_table

    show(rows, message_table(rows), output)


async def _peek(settings: Settings, topic: str, subscription: str, count: int) -> list[Peeked]:
    from wtp.broker.connect import administer, connect
    from wtp.broker.subscriptions import peek_backlog, peek_newest

    async def work(admin: Client) -> list[Peeked]:
        if subscription:
            return await peek_backlog(admin, topic, subscription, count)
        client = connect(settings.broker)
        try:
            return await peek_newest(admin, client, topic, count)
        finally:
            await client.close()

    async with administer(settings.broker) as admin:
        return await found(admin, topic, lambda: work(admin))
