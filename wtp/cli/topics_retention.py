"""`wtp topics retention`: how long messages of a topic or a room are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wtp.broker.naming import parse_topic, room_namespace
from wtp.cli.complete import topics as complete_topics
from wtp.cli.options import Admin, Profile, Room, load_settings
from wtp.cli.topics_common import (
    Format,
    OutputFormat,
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


def add_to(app: typer.Typer) -> None:
    """Add the command to `wtp topics`."""
    app.command("retention")(retention)


async def applying(client: Client, topic: str) -> dict[str, Any]:
    """How long messages stay: the topic's own rule, else that of its room; -1: no limit."""
    try:
        own = await client.topic_retention(topic)
    except BrokerError:  # topic policies may be switched off in a cluster
        own = None
    if own is not None:
        return {"of": "topic", "minutes": own[0], "mb": own[1]}
    return await _of_room(client, parse_topic(topic).namespace_path)


async def _of_room(client: Client, namespace: str) -> dict[str, Any]:
    policies = await client.policies(namespace)
    return {"of": "room", "minutes": policies.retention_minutes, "mb": policies.retention_mb}


async def room_found(client: Client, namespace: str) -> None:
    """See that a room exists; NotFound names those there are."""
    tenant, _, room = namespace.partition("/")
    try:
        known = await client.namespaces(tenant)
    except NotFound:
        known = []
    if namespace not in known:
        rooms = [name.rpartition("/")[2] for name in known]
        hint = f"Rooms are: {', '.join(rooms[:20])}." if rooms else "There are no rooms yet."
        raise NotFound(f"There is no room {room!r}.", hint=hint)


def retention(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="[KIND|TOPIC]",
            help="A topic; without one the room itself.",
            autocompletion=complete_topics,
            show_default=False,
        ),
    ] = "",
    room: Room = None,
    new: Annotated[
        Any,
        typer.Option(
            "--set", metavar="TIME,SIZE", parser=parse_retention,
            help="Keep acknowledged messages: 24h, 1GB, or 24h,1GB (whichever is reached first).",
        ),
    ] = None,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:  # fmt: skip
    """Show or set how long messages of a topic, or of a whole room, are kept."""
    settings = load_settings(ctx)
    if name:
        target = str(full_name(settings, name))
    else:
        target = room_namespace(settings.topics.template, check_name("room", settings.rooms.room))

    async def set_or_get(client: Client) -> dict[str, Any]:
        if new is not None:
            await client.set_retention(target, *new)
            # Not read back: a cluster takes a topic's policy over a moment later.
            return {"of": "topic" if name else "room", "minutes": new[0], "mb": new[1]}
        return await (applying(client, target) if name else _of_room(client, target))

    async def work(client: Client) -> dict[str, Any]:
        if name:
            return await found(client, target, lambda: set_or_get(client))
        await room_found(client, target)
        return await set_or_get(client)

    kept = asking(settings, work)
    from wtp.ui.topics import retention_text

    values = {"name": target, **kept, "changed": new is not None}
    show(values, f"{target}: {retention_text(kept)}", output)
