"""Which topics a replay reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wtp.broker.naming import TopicName, parse_topic
from wtp.config.schema import Settings
from wtp.consumer.places import listing, no_room
from wtp.errors import BrokerError, NotFound, Refused, UsageError
from wtp.model import Kind
from wtp.replayer.ports import Directory
from wtp.replayer.request import Request


def kind_topics(settings: Settings, room: str) -> dict[Kind, TopicName]:
    """The topic of each kind of a room, by the templates of the settings."""
    return {kind: parse_topic(settings.topics.topic(room, kind)) for kind in Kind}


async def find_topics(
    settings: Settings, request: Request, directory: Directory, note: Callable[[str], None]
) -> tuple[str, ...]:
    """Find the topics, partition by partition.

    Args:
        settings: Room and topic templates.
        request: Which kinds, or which topic.
        directory: The broker's; when it does not answer, topics that are named are taken on trust.
        note: Is told that.

    Raises:
        NotFound: There is no such room, topic or kind; the hint lists those there are.
        UsageError: A topic is asked for that keeps nothing.
        BrokerError: The directory does not answer and nothing is named.
    """
    by_kind = kind_topics(settings, settings.rooms.room)
    if request.topic:
        wanted = [parse_topic(request.topic)]
    else:
        wanted = list(dict.fromkeys(by_kind[kind] for kind in request.kinds or Kind))
    named = bool(request.topic or request.kinds)
    _refuse_fleeting(wanted, named)
    found: list[str] = []
    for name in wanted:
        try:
            there = await directory.list_topics(name.namespace_path, each_partition=True)
        except NotFound:
            raise await no_room(name, directory, hint="") from None
        except (BrokerError, Refused) as error:
            if not named:
                raise
            note(f"The broker's admin API cannot be asked which topics exist: {error.message}")
            found.append(str(name))
            continue
        parts = _parts(name, there)
        if not parts and named:
            raise _no_topic(name, there, by_kind)
        found += parts
    if not found:
        raise _no_topic(wanted[0], there, by_kind)
    return tuple(found)


def _refuse_fleeting(wanted: list[TopicName], named: bool) -> None:
    fleeting = [name for name in wanted if not name.persistent]
    if fleeting and (named or len(fleeting) == len(wanted)):
        raise UsageError(
            f"{fleeting[0]} keeps nothing that could be replayed.",
            hint="Only persistent:// topics have a past.",
        )
    for name in fleeting:
        wanted.remove(name)


def _parts(name: TopicName, there: Sequence[str]) -> list[str]:
    """The topic's partitions in their order, or itself, or nothing."""
    parsed = [parse_topic(text) for text in there]
    parts = [topic for topic in parsed if topic.partition >= 0 and topic.whole == name]
    if parts:
        return [str(part) for part in sorted(parts, key=lambda topic: topic.partition)]
    return [str(name)] if name in parsed else []


def _no_topic(name: TopicName, there: Sequence[str], by_kind: dict[Kind, TopicName]) -> NotFound:
    wholes = {parse_topic(text).whole for text in there}
    kinds = [kind.value for kind, topic in by_kind.items() if topic in wholes]
    others = sorted(topic.local for topic in wholes - set(by_kind.values()))
    room = name.namespace
    kind = next((kind for kind, topic in by_kind.items() if topic == name), None)
    what = f"no {kind}" if kind else f"no topic {name.local!r}"
    hint = f"{listing('Kinds of it are', kinds)}"
    if others:
        hint += f" {listing('Other topics, for --topic, are', others)}"
    return NotFound(f"Room {room!r} has {what}.", hint=hint)
