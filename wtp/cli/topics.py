"""`wtp topics`: create, list, describe and delete topics; more verbs beside this file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wtp.broker.naming import parse_topic, room_namespace, topic_name
from wtp.cli import topics_peek, topics_retention, topics_subscriptions
from wtp.cli.options import VALUES, Admin, Profile, Room, load_settings
from wtp.cli.topics_common import (
    Format,
    Name,
    OutputFormat,
    Yes,
    agree,
    asking,
    found,
    full_name,
    parse_retention,
    show,
)
from wtp.errors import BrokerError, NotFound
from wtp.model import check_name

if TYPE_CHECKING:
    from wtp.broker.topics import Admin as Client

app = typer.Typer(no_args_is_help=True, help="Create, look at, move in and delete topics.")

AT_ONCE = 8
"""Requests to the admin API that are under way at once."""


async def _row(client: Client, name: str) -> dict[str, Any]:
    """What is known about one topic, in words of our own."""
    topic = parse_topic(name)
    stats = await client.stats(name)
    subscriptions = [
        {
            "name": key,
            "type": str(one.get("type") or "none yet"),
            "consumers": len(one.get("consumers") or []),
            "backlog": int(one.get("msgBacklog") or 0),
        }
        for key, one in sorted((stats.get("subscriptions") or {}).items())
    ]
    return {
        "name": name,
        "room": topic.namespace,
        "topic": topic.local,
        "partitions": await client.partitions(name),
        "messages": int(stats.get("msgInCounter") or 0),
        "size_bytes": int(stats.get("storageSize") or 0),
        "producers": len(stats.get("publishers") or []),
        "backlog": sum(one["backlog"] for one in subscriptions),
        "subscriptions": subscriptions,
    }


@app.command()
def create(
    ctx: typer.Context,
    name: Name,
    room: Room = None,
    partitions: Annotated[
        int, typer.Option("--partitions", min=0, max=1000, help="Partitions; 0: none.")
    ] = 0,
    retention: Annotated[
        Any,
        typer.Option(
            "--retention", metavar="TIME,SIZE", help="Keep messages: 24h, 1GB or 24h,1GB.",
            parser=parse_retention,
        ),
    ] = None,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:  # fmt: skip
    """Create a topic, and its room where the profile allows that."""
    settings = load_settings(ctx)
    topic = full_name(settings, name)
    check_name("topic", topic.local)
    rules = settings.rooms

    async def work(client: Client) -> None:
        if rules.create:
            from wtp.broker.rooms import ensure_room

            await ensure_room(client, topic.namespace_path, rules)
        try:
            await client.create_topic(str(topic), partitions)
        except BrokerError as error:
            if error.code != "exists":
                raise
            raise BrokerError(
                f"There is a topic {topic} already.",
                hint=f"Look at it with `wtp topics describe {topic}`, or choose another name.",
                code="exists",
            ) from error
        if retention is not None:
            await client.set_retention(str(topic), *retention)

    asking(settings, work)
    kept = None if retention is None else {"minutes": retention[0], "mb": retention[1]}
    values = {"name": str(topic), "partitions": partitions, "retention": kept}
    show(values, f"created {topic}", output)


@app.command("list")
def list_topics(
    ctx: typer.Context,
    room: Room = None,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:
    """List topics with what is in them: those of one room, or of all."""
    settings = load_settings(ctx)
    chosen = ctx.meta.get(VALUES, {}).get("rooms.room")
    template = settings.topics.template

    async def work(client: Client) -> list[dict[str, Any]]:
        if chosen:
            namespaces = [room_namespace(template, check_name("room", chosen))]
        else:
            tenant = parse_topic(topic_name(template, "x", "video")).tenant
            namespaces = sorted(await client.namespaces(tenant))
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> dict[str, Any] | None:
            async with gate:
                try:
                    return await _row(client, name)
                except NotFound:  # deleted in between
                    return None

        try:
            spaces = [sorted(await client.list_topics(space)) for space in namespaces]
        except NotFound as error:
            raise await _no_room(client, namespaces[0]) from error
        names = [name for names in spaces for name in names]
        rows = await asyncio.gather(*(one(name) for name in names))
        return [row for row in rows if row is not None]

    rows = asking(settings, work)
    from wtp.ui.topics import topic_table

    show(rows, topic_table(rows), output)


async def _no_room(client: Client, namespace: str) -> NotFound:
    """That a room is missing, and which ones there are."""
    tenant, _, room = namespace.partition("/")
    rooms = [name.rpartition("/")[2] for name in await client.namespaces(tenant)]
    hint = f"Rooms are: {', '.join(rooms[:20])}." if rooms else "There are no rooms yet."
    return NotFound(f"There is no room {room!r}.", hint=hint)


@app.command()
def describe(
    ctx: typer.Context,
    name: Name,
    room: Room = None,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:
    """Show one topic: messages, size, retention, producers, subscriptions with their backlog."""
    settings = load_settings(ctx)
    topic = str(full_name(settings, name))

    async def work(client: Client) -> dict[str, Any]:
        row = await found(client, topic, lambda: _row(client, topic))
        return {**row, "retention": await topics_retention.applying(client, topic)}

    row = asking(settings, work)
    from wtp.ui.topics import topic_page

    show(row, topic_page(row), output)


@app.command()
def delete(
    ctx: typer.Context,
    name: Name,
    room: Room = None,
    yes: Yes = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also with producers or consumers on it.")
    ] = False,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:
    """Delete a topic with everything in it."""
    settings = load_settings(ctx)
    topic = str(full_name(settings, name))
    if not yes:
        agree(f"{topic} is not deleted", f"Delete {topic} with everything in it?")

    async def work(client: Client) -> None:
        try:
            await found(client, topic, lambda: client.delete_topic(topic, force=force))
        except BrokerError as error:
            if error.code != "in-use":
                raise
            raise BrokerError(
                f"{topic} has producers or consumers.",
                hint="Stop them, or delete it under them with --force.",
                code="in-use",
            ) from error

    asking(settings, work)
    show({"name": topic, "deleted": True}, f"deleted {topic}", output)


topics_retention.add_to(app)
topics_subscriptions.add_to(app)
topics_peek.add_to(app)
