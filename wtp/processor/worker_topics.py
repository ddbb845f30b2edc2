"""Names of a topic worker: what it reads, where its outputs go, under which sequence ids. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wtp.broker.naming import parse_topic, topic_name
from wtp.config.schema import Settings
from wtp.errors import UsageError
from wtp.model import Kind
from wtp.wire.process import MOST_OBJECTS

OUTPUTS = 1000
"""Sequence ids that each input has for its outputs."""

assert OUTPUTS > MOST_OBJECTS  # noqa: S101 - each output of an input has an id of its own

CHAIN = "processor"
"""Attribute that names the code an object went through, in order, with commas between."""


def sequence_id(seq: int, index: int) -> int:
    """Sequence id of an input's output, for the broker's de-duplication.

    It grows with the input's sequence and then with the output's place, so what is processed again
    gets the ids it had. It is never 0, which the client's callback interface ignores.

    Args:
        seq: The input's.
        index: The output's place among those of its input, from 0.
    """
    return seq * OUTPUTS + index + 1


def producer_name(track: str, instance: str, code: str) -> str:
    """Name of the producer of a code's outputs of one track of one publisher run."""
    return f"wtp/{track}/{instance or '-'}/{code}"


@dataclass(frozen=True, slots=True)
class Places:
    """What a worker reads and writes.

    Attributes:
        source: Topic that is read.
        subscription: Under this name.
        kind: Of the objects in it.
        code: Name of the code.
        targets: Where outputs go, by kind.
        dead_letters: Topic of inputs that the code failed on; empty for none.
    """

    source: str
    subscription: str
    kind: Kind
    code: str
    targets: Mapping[Kind, str]
    dead_letters: str

    @classmethod
    def of(
        cls,
        settings: Settings,
        kind: Kind,
        code: str,
        *,
        topic: str = "",
        to: str = "",
        subscription: str = "",
    ) -> Places:
        """Find all names.

        Args:
            settings: Profile.
            kind: Of the objects.
            code: Name of the code.
            topic: What to read; default: the topic of the kind in the settings' room.
            to: Where to write; default: outputs of a kind go to that kind's topic, those of the
                input's own kind to `<topic>-<code>`.
            subscription: Default: `wtp-<code>`.

        Raises:
            UsageError: A name is not allowed, or (code `cycle`) the worker would read what it
                writes.
        """
        topics, room = settings.topics, settings.rooms.room
        usual = {
            one: topic_name(topics.kinds.get(one.value, topics.template), room, one.value)
            for one in Kind
        }
        source = str(parse_topic(topic)) if topic else usual[kind]
        targets = usual | {kind: str(parse_topic(f"{usual[kind]}-{code}"))}
        if to:
            targets = dict.fromkeys(Kind, str(parse_topic(to)))
        letters = settings.processor.dead_letter
        dead = topic_name(letters, room, kind.value) if letters else ""
        if dead == source:
            raise _cycle("dead letters", source, "Give processor.dead_letter another topic.")
        if source in targets.values():
            hint = "Name another topic with --to, or give each kind a topic of its own."
            raise _cycle("outputs", source, hint)
        return cls(source, subscription or f"wtp-{code}", kind, code, targets, dead)


def _cycle(what: str, source: str, hint: str) -> UsageError:
    return UsageError(
        f"The worker would read its own {what}: they go to {source}, which it reads.",
        hint=hint,
        code="cycle",
    )


def chained(before: str, code: str) -> str | None:
    """The `processor` attribute of an output; None when the input went through this code already.

    Args:
        before: The attribute of the input, empty without one.
        code: Name of the code.
    """
    if code in before.split(","):
        return None
    return f"{before},{code}" if before else code
