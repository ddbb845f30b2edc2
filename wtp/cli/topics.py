"""`wtp topics`: create, list, describe and delete topics."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from wtp.broker.naming import TopicName, parse_topic, room_namespace, topic_name
from wtp.cli.complete import topics as complete_topics
from wtp.cli.options import (
    VALUES,
    Admin,
    Output,
    OutputFormat,
    Profile,
    Room,
    load_settings,
    parse_bytes,
    parse_seconds,
)
from wtp.cli.out import put
from wtp.config.schema import Settings
from wtp.errors import BrokerError, NotFound, UsageError
from wtp.model import Kind, check_name

if TYPE_CHECKING:
    from wtp.broker.topics import Admin as Client

app = typer.Typer(no_args_is_help=True, help="Create, list, describe and delete topics.")

T = TypeVar("T")
AT_ONCE = 8
"""Requests to the admin API that are under way at once."""

MIB = 1024 * 1024

Name = Annotated[
    str,
    typer.Argument(
        metavar="KIND|TOPIC",
        help="A kind (video, chat, ...), a name in the room, or a full topic name.",
        autocompletion=complete_topics,
    ),
]


def full_name(settings: Settings, text: str) -> TopicName:
    """The topic that a word on the command line means.

    Args:
        settings: Room and templates.
        text: A kind, a name in the room's namespace, or a full topic name.

    Raises:
        UsageError: It is none of these.
    """
    room = check_name("room", settings.rooms.room)
    template = settings.topics.kinds.get(text, settings.topics.template)
    if text in Kind.__members__.values():
        return parse_topic(topic_name(template, room, text))
    if "/" in text:
        return parse_topic(text)
    return parse_topic(f"persistent://{room_namespace(template, room)}/{text}")


def parse_retention(text: str) -> tuple[int, int]:
    """Read `24h`, `1GB` or `24h,1GB`.

    Returns:
        Minutes and MiB; -1 for the one that was not given (no limit).

    Raises:
        BadParameter: It is none.
    """
    minutes = mb = -1
    for part in text.split(","):
        try:
            minutes = max(1, round(parse_seconds(part) / 60)) if parse_seconds(part) else 0
        except typer.BadParameter:
            try:
                mb = max(1, round(parse_bytes(part) / MIB)) if parse_bytes(part) else 0
            except typer.BadParameter:
                raise typer.BadParameter(
                    f"{part!r} is neither a time nor a size; write 24h, 1GB or 24h,1GB."
                ) from None
    return minutes, mb


def _ask(settings: Settings, work: Callable[[Client], Awaitable[T]]) -> T:
    """Do something with the admin API."""

    async def asked() -> T:
        from wtp.broker.connect import administer

        client = administer(settings.broker)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(asked())


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
    output: OutputFormat = Output.TABLE,
    profile: Profile = "local",
) -> None:  # fmt: skip
    """Create a topic, and its room where the profile allows that."""
    settings = load_settings(ctx)
    topic = full_name(settings, name)
    check_name("topic", topic.local)
    rules = settings.rooms

    async def work(client: Client) -> None:
        if rules.create:
            await client.ensure_namespace(
                topic.namespace_path,
                retention_minutes=rules.retention_minutes,
                retention_mb=rules.retention_mb,
                deduplication=rules.deduplication,
            )
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

    _ask(settings, work)
    kept = None if retention is None else {"minutes": retention[0], "mb": retention[1]}
    values = {"name": str(topic), "partitions": partitions, "retention": kept}
    put(values, f"created {topic}", output)


@app.command("list")
def list_topics(
    ctx: typer.Context,
    room: Room = None,
    admin: Admin = None,
    output: OutputFormat = Output.TABLE,
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

    rows = _ask(settings, work)
    from wtp.ui.topics import topic_table

    put(rows, topic_table(rows), output)


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
    output: OutputFormat = Output.TABLE,
    profile: Profile = "local",
) -> None:
    """Show one topic: messages, size, retention, producers, subscriptions with their backlog."""
    settings = load_settings(ctx)
    topic = str(full_name(settings, name))

    async def work(client: Client) -> dict[str, Any]:
        row = await _found(client, topic, lambda: _row(client, topic))
        return {**row, "retention": await _retention(client, topic)}

    row = _ask(settings, work)
    from wtp.ui.topics import topic_page

    put(row, topic_page(row), output)


async def _retention(client: Client, topic: str) -> dict[str, Any]:
    """How long messages stay: the topic's own rule, else that of its room; -1: no limit."""
    try:
        own = await client.topic_retention(topic)
    except BrokerError:  # topic policies may be switched off in a cluster
        own = None
    if own is not None:
        return {"of": "topic", "minutes": own[0], "mb": own[1]}
    policies = await client.policies(parse_topic(topic).namespace_path)
    return {"of": "room", "minutes": policies.retention_minutes, "mb": policies.retention_mb}


async def _found(client: Client, topic: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do something with a topic; when it is missing, say which ones there are."""
    try:
        return await work()
    except NotFound as error:
        try:
            known = await client.list_topics(parse_topic(topic).namespace_path)
        except BrokerError:
            known = []
        there = ", ".join(sorted(name.rsplit("/", 1)[-1] for name in known)[:20])
        hint = f"In this room there are: {there}." if there else "This room has no topics."
        raise NotFound(f"There is no topic {topic}.", hint=hint) from error


@app.command()
def delete(
    ctx: typer.Context,
    name: Name,
    room: Room = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also with producers or consumers on it.")
    ] = False,
    admin: Admin = None,
    output: OutputFormat = Output.TABLE,
    profile: Profile = "local",
) -> None:
    """Delete a topic with everything in it."""
    settings = load_settings(ctx)
    topic = str(full_name(settings, name))
    if not yes and not _agreed(topic):
        raise UsageError("Nothing was deleted.", hint="Answer y, or give --yes.")

    async def work(client: Client) -> None:
        try:
            await _found(client, topic, lambda: client.delete_topic(topic, force=force))
        except BrokerError as error:
            if error.code != "in-use":
                raise
            raise BrokerError(
                f"{topic} has producers or consumers.",
                hint="Stop them, or delete it under them with --force.",
                code="in-use",
            ) from error

    _ask(settings, work)
    put({"name": topic, "deleted": True}, f"deleted {topic}", output)


def _agreed(topic: str) -> bool:
    """Ask on the terminal; without one nobody can agree."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{topic} is not deleted unasked.", hint="Give --yes.")
    return typer.confirm(f"Delete {topic} with everything in it?", err=True)
