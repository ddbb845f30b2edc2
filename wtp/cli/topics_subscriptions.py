"""`wtp topics subscriptions, backlog, reset, unsubscribe`: who reads a topic, and from where."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wtp.cli.options import Admin, Profile, Room, load_settings, parse_seconds
from wtp.cli.topics_common import (
    Format,
    Name,
    OutputFormat,
    Subscription,
    Yes,
    agree,
    asking,
    complete_subscriptions,
    found,
    full_name,
    show,
)
from wtp.clock import wall_us
from wtp.errors import BrokerError

if TYPE_CHECKING:
    from wtp.broker.subscriptions import SubscriptionState
    from wtp.broker.topics import Admin as Client

Target = Literal["earliest", "latest"] | int | str

MOMENTS = "earliest, latest, -5m, 2026-01-31T12:00:00Z, or LEDGER:ENTRY"


def add_to(app: typer.Typer) -> None:
    """Add the commands to `wtp topics`."""
    for command in (subscriptions, backlog, reset, unsubscribe):
        app.command()(command)


def parse_target(text: str) -> Target:
    """Read where a subscription goes.

    Args:
        text: `earliest`, `latest`, a time ago (`-5m`, `-1h30m`), a time in RFC 3339 with its zone,
            or `LEDGER:ENTRY`.

    Returns:
        The word, Unix ms, or `ledger:entry`.

    Raises:
        BadParameter: It is none of these.
    """
    if text in ("earliest", "latest"):
        return text
    if re.fullmatch(r"[0-9]{1,18}:[0-9]{1,18}", text):
        return text
    ago = re.fullmatch(r"-((?:[0-9.]+(?:ms|s|m|h|d))+)", text)
    if ago:
        parts = re.findall(r"[0-9.]+(?:ms|s|m|h|d)", ago[1])
        return max(0, wall_us() // 1000 - round(sum(map(parse_seconds, parts)) * 1000))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no place; write {MOMENTS}.") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; write {text}Z for UTC.")
    return max(0, round(moment.timestamp() * 1000))


def _moment(unix_ms: int | None) -> str | None:
    """A time as RFC 3339 in UTC."""
    if unix_ms is None:
        return None
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _values(one: SubscriptionState) -> dict[str, Any]:
    """A subscription as plain values."""
    values = asdict(one)
    active = _moment(values.pop("active_ms"))
    return {
        "name": one.name,
        "type": values.pop("kind") or None,
        **{name: value for name, value in values.items() if name != "name"},
        "last_activity": active,
    }


def subscriptions(
    ctx: typer.Context,
    name: Name,
    room: Room = None,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:
    """Show who reads a topic: type, consumers, backlog, what is unacknowledged, last activity."""
    settings = load_settings(ctx)
    topic = str(full_name(settings, name))

    async def work(client: Client) -> list[SubscriptionState]:
        from wtp.broker.subscriptions import states

        return await found(client, topic, lambda: states(client, topic))

    rows = [_values(one) for one in asking(settings, work)]
    from wtp.ui.topics import subscription_table

    show(rows, subscription_table(rows), output)


def backlog(
    ctx: typer.Context,
    name: Name,
    subscription: Annotated[
        str,
        typer.Argument(
            metavar="[SUBSCRIPTION]",
            help="Only this one.",
            autocompletion=complete_subscriptions,
            show_default=False,
        ),
    ] = "",
    room: Room = None,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:
    """Show how much a topic's subscriptions have not acknowledged yet, by partition."""
    settings = load_settings(ctx)
    topic = str(full_name(settings, name))

    async def work(client: Client) -> list[dict[str, Any]]:
        from wtp.broker.subscriptions import backlogs

        return await found(client, topic, lambda: backlogs(client, topic, subscription))

    rows = asking(settings, work)
    from wtp.ui.topics import backlog_table

    show(rows, backlog_table(rows), output)


def reset(
    ctx: typer.Context,
    name: Name,
    subscription: Subscription,
    to: Annotated[
        Any, typer.Option("--to", metavar="PLACE", parser=parse_target, help=f"{MOMENTS}.")
    ],
    room: Room = None,
    yes: Yes = False,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:
    """Move a subscription: what it gets next, and what counts as read."""
    settings = load_settings(ctx)
    topic = str(full_name(settings, name))
    if not yes:
        agree(f"{subscription!r} of {topic} is not moved", f"Move {subscription!r} of {topic}?")

    async def work(client: Client) -> tuple[int, int | None]:
        from wtp.broker import subscriptions as verbs

        await found(client, topic, lambda: verbs.reset(client, topic, subscription, to))
        backlog = (await verbs.state(client, topic, subscription)).backlog
        following: list[verbs.Peeked] = []
        if backlog and isinstance(to, int):
            following = await verbs.peek_backlog(client, topic, subscription, 1)
        return backlog, following[0].publish_ms if following else None

    backlog, next_ms = asking(settings, work)
    following = _moment(next_ms)
    values = {
        "name": topic, "subscription": subscription, "to": to, "backlog": backlog,
        "next_published": following,
    }  # fmt: skip
    from_when = f", the next one published at {following}" if following else ""
    show(values, f"moved {subscription} of {topic}: backlog {backlog}{from_when}", output)


def unsubscribe(
    ctx: typer.Context,
    name: Name,
    subscription: Subscription,
    room: Room = None,
    yes: Yes = False,
    force: Annotated[bool, typer.Option("--force", help="Also with consumers on it.")] = False,
    admin: Admin = None,
    output: OutputFormat = Format.TABLE,
    profile: Profile = "local",
) -> None:
    """Delete a subscription and with it what it has read and not read."""
    settings = load_settings(ctx)
    topic = str(full_name(settings, name))
    if not yes:
        agree(f"{subscription!r} of {topic} is not deleted", f"Delete {subscription!r} of {topic}?")

    async def work(client: Client) -> None:
        from wtp.broker import subscriptions as verbs

        try:
            await found(
                client, topic, lambda: verbs.unsubscribe(client, topic, subscription, force=force)
            )
        except BrokerError as error:
            if error.code != "in-use":
                raise
            raise verbs.in_use(topic, subscription) from error

    asking(settings, work)
    values = {"name": topic, "subscription": subscription, "deleted": True}
    show(values, f"deleted {subscription} of {topic}", output)
