"""What the commands of `wtp topics` share: names, asking the broker, agreeing, printing."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote

import typer

from wtp.broker.naming import TopicName, parse_topic, room_namespace, topic_name
from wtp.cli.complete import admin_url, ask, room_name
from wtp.cli.complete import topics as complete_topics
from wtp.cli.options import parse_bytes, parse_seconds
from wtp.config.schema import Settings
from wtp.errors import BrokerError, NotFound, UsageError
from wtp.model import Kind, check_name

if TYPE_CHECKING:
    from rich.console import RenderableType

    from wtp.broker.topics import Admin as Client

T = TypeVar("T")
Row = Mapping[str, Any]

MIB = 1024 * 1024

PLAIN_COLUMNS = 10_000
"""Width of what is not a terminal: there no table is squeezed."""

SHOWN = 20
"""Names listed at most in an error."""


class Format(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


OutputFormat = Annotated[
    Format, typer.Option("--output", "-o", help="Format.", rich_help_panel="Common")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Name = Annotated[
    str,
    typer.Argument(
        metavar="KIND|TOPIC",
        help="A kind (video, chat, ...), a name in the room, or a full topic name.",
        autocompletion=complete_topics,
    ),
]


def complete_subscriptions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the subscriptions of the topic that was typed before."""
    typed = str(ctx.params.get("name") or "")
    text = typed if "/" in typed else f"persistent://public/{room_name(ctx)}/{typed}"
    try:
        topic = parse_topic(text)
    except UsageError:
        return []
    path = "/".join(
        quote(part, safe="") for part in (topic.domain, topic.tenant, topic.namespace, topic.local)
    )
    found = ask(f"{admin_url(ctx)}/admin/v2/{path}/subscriptions")
    return [name for name in sorted(found) if name.startswith(incomplete)]


Subscription = Annotated[
    str,
    typer.Argument(
        metavar="SUBSCRIPTION",
        help="Name of a subscription.",
        autocompletion=complete_subscriptions,
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
    """Read `24h`, `1GB`, `24h,1GB` or `24h/1GB`.

    Returns:
        Minutes and MiB; -1 for the one that was not given (no limit).

    Raises:
        BadParameter: It is none.
    """
    minutes = mb = -1
    for part in text.replace("/", ",").split(","):
        if re.fullmatch(r"0*[1-9][0-9.]*\s*", part.lstrip()):  # of what? minutes would delete data
            raise typer.BadParameter(f"{part!r} has no unit; write {part}h or {part}GB.")
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


def asking(settings: Settings, work: Callable[[Client], Awaitable[T]]) -> T:
    """Do something with the admin API, on a loop of its own."""

    async def asked() -> T:
        from wtp.broker.connect import administer

        client = administer(settings.broker)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(asked())


async def found(client: Client, topic: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do something with a topic; when it is missing, say which ones there are.

    Raises:
        NotFound: The topic is missing, or (as `work` says it) something of the topic.
    """
    try:
        await client.partitions(topic)
    except NotFound as error:
        try:
            known = await client.list_topics(parse_topic(topic).namespace_path)
        except BrokerError:
            known = []
        there = ", ".join(sorted(name.rsplit("/", 1)[-1] for name in known)[:SHOWN])
        hint = f"In this room there are: {there}." if there else "This room has no topics."
        raise NotFound(f"There is no topic {topic}.", hint=hint) from error
    return await work()


def agree(what: str, question: str) -> None:
    """Ask on the terminal; without one nobody can agree.

    Args:
        what: What is not done unasked, as a sentence without its end.
        question: For the terminal.

    Raises:
        UsageError: Nobody agreed.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{what} unasked.", hint="Give --yes.")
    if not typer.confirm(question, err=True):
        raise UsageError("Nothing was changed.", hint="Answer y, or give --yes.")


def show(values: Any, shown: RenderableType, output: Format, rows: Sequence[Row] = ()) -> None:
    """Print an answer to standard output.

    Args:
        values: What `-o json` prints, as one indented document.
        shown: What people see; plain strings go out as they are.
        output: Which form.
        rows: What `-o jsonl` and `-o csv` print, a line each; by default `values` itself.
    """
    if output is Format.JSON:
        sys.stdout.write(json.dumps(values, indent=2, default=str) + "\n")
        return
    if output in (Format.JSONL, Format.CSV):
        lines = rows or (values if isinstance(values, list) else [values])
        sys.stdout.write(_jsonl(lines) if output is Format.JSONL else _csv(lines))
        return
    if isinstance(shown, str):
        sys.stdout.write(shown + "\n")
        return
    from rich.console import Console

    width = None if sys.stdout.isatty() else PLAIN_COLUMNS
    Console(highlight=False, emoji=False, width=width).print(shown)


def _jsonl(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row, separators=(",", ":"), default=str) + "\n" for row in rows)


def _csv(rows: Sequence[Row]) -> str:
    """Rows with a header; what is a list or an object stands there as JSON."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str) and value.isprintable():
        return value
    return str(value) if isinstance(value, (int, float)) else json.dumps(value, default=str)
