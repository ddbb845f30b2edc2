"""Names of a topic worker: what it reads, where its outputs go, under which sequence ids. Pure."""

from __future__ import annotations

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
        room: The room.
        code: Name of the code.
        target: Topic of all outputs; empty: by kind.
    """

    settings: Settings
    source: str
    subscription: str
    kind: Kind
    room: str
    code: str
    target: str

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
            to: Where to write; default: as `topic_of` says.
            subscription: Default: `wtp-<code>`.

        Raises:
            UsageError: A name is not allowed, or (code `cycle`) the worker would read what it
                writes.
        """
        topics, room = settings.topics, settings.rooms.room
        template = topics.kinds.get(kind.value, topics.template)
        source = str(parse_topic(topic)) if topic else topic_name(template, room, kind.value)
        target = str(parse_topic(to)) if to else ""
        places = cls(settings, source, subscription or f"wtp-{code}", kind, room, code, target)
        if places.dead_letters == source:
            raise UsageError(
                f"The worker would read its own dead letters: they go to {source}, which it reads.",
                hint="Give processor.dead_letter another topic.",
                code="cycle",
            )
        for output in Kind:
            if places.topic_of(output) == source:
                raise UsageError(
                    f"The worker would read its own outputs: {output} objects go to {source}, "
                    "which it reads.",
                    hint="Name another topic with --to, or give each kind a topic of its own.",
                    code="cycle",
                )
        return places

    @property
    def dead_letters(self) -> str:
        """Topic of inputs that the code failed on; empty for none."""
        template = self.settings.processor.dead_letter
        return topic_name(template, self.room, self.kind.value) if template else ""

    def topic_of(self, kind: Kind) -> str:
        """Topic of outputs of a kind: that kind's, for the input's own kind `<topic>-<code>`."""
        if self.target:
            return self.target
        topics = self.settings.topics
        name = topic_name(topics.kinds.get(kind.value, topics.template), self.room, kind.value)
        if kind is not self.kind:
            return name
        return str(parse_topic(f"{name}-{self.code}"))


def chained(before: str, code: str) -> str | None:
    """The `processor` attribute of an output; None when the input went through this code already.

    Args:
        before: The attribute of the input, empty without one.
        code: Name of the code.
    """
    if code in before.split(","):
        return None
    return f"{before},{code}" if before else code
