"""From the moments somebody asked for to the part of a room's past that is played."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wtp.consumer.item import read_place
from wtp.errors import NotFound, UsageError
from wtp.replayer.placed import place_in_time
from wtp.replayer.request import Request, Span
from wtp.replayer.survey import Extent
from wtp.replayer.when import EARLIEST, NEVER_US, Moment, show_time

Extents = Mapping[str, Extent | None]
"""The ends of each topic; None for an empty one."""


def check_request(request: Request) -> None:
    """Refuse what cannot be meant, before anything is asked.

    Raises:
        UsageError: The end lies before the start, the speed is negative, ...
    """
    start, end = request.start, request.end
    if request.speed < 0 or request.speed != request.speed:
        raise UsageError("The speed is negative.", hint="Write --speed 2, or --speed max.")
    if request.follow and end is not None:
        raise UsageError(
            "--follow has no end, --to is one.", hint="Leave one of them out, or use --duration."
        )
    if start.at_us is not None and end is not None and end.at_us is not None:
        ordered = start.at_us <= end.at_us
    elif start.place and end is not None and end.place:
        ordered = start.place <= end.place
    else:
        ordered = True
    if not ordered:
        raise UsageError("--to lies before --from.", hint="Exchange them.")
    if end == EARLIEST:
        raise UsageError("earliest is a beginning, no end.", hint="Give it to --from.")
    by_position = any(moment and moment.position for moment in (start, end))
    if by_position and not request.topic and len(request.kinds) != 1:
        raise UsageError(
            "A message id belongs to one topic.", hint="Name one KIND, or a topic: --topic."
        )


def bounds(extents: Extents) -> tuple[int, int] | None:
    """The earliest and the latest time that is kept, Unix µs; None when there is nothing."""
    there = [extent for extent in extents.values() if extent is not None]
    if not there:
        return None
    ends = [
        (place_in_time(extent.first)[0], place_in_time(extent.last)[0], extent) for extent in there
    ]
    return min(first for first, _, _ in ends), max(last for _, last, _ in ends)


def find_span(request: Request, extents: Extents, note: Callable[[str], None]) -> Span:
    """The part to be played.

    Args:
        request: What was asked for.
        extents: What there is.
        note: Is told what differs from what was asked for.

    Raises:
        NotFound: Nothing of it is kept, or a message is not of the topic; the hint says what is.
        UsageError: A message id does not go with several topics.
    """
    kept = bounds(extents)
    if kept is None:
        if request.follow:
            return Span()
        raise NotFound("There is nothing to replay: the topics are empty.", hint="--follow waits.")
    for moment in (request.start, request.end):
        if moment and moment.position:
            _check_position(moment, extents)
    start, end = request.start, request.end
    span = Span(
        from_us=start.at_us or 0,
        to_us=NEVER_US if end is None or end.at_us is None else end.at_us,
        from_place=start.place,
        to_place=end.place if end else None,
    )
    first_us, last_us = kept
    what = f"What is kept is of {show_time(first_us)} to {show_time(last_us)}."
    if span.to_us < first_us:
        raise NotFound("The end lies before everything that is kept.", hint=what)
    if span.from_us > last_us and not request.follow:
        raise NotFound("The beginning lies behind everything that is kept.", hint=what)
    if 0 < span.from_us < first_us and not start.about:
        note(f"The earliest that is kept is of {show_time(first_us)}: replay begins there.")
    return span


def _check_position(moment: Moment, extents: Extents) -> None:
    """See that a message id lies within its topic; whether it is there shows when it is read.

    Raises:
        NotFound: It does not.
        UsageError: There are several topics.
    """
    if len(extents) != 1:
        raise UsageError(
            f"Message {moment.position} could be of any of {len(extents)} partitions.",
            hint=f"Name one: --topic {next(iter(extents))}",
        )
    (topic, extent), place = next(iter(extents.items())), moment.place
    assert extent is not None  # noqa: S101 - find_span saw that it is not empty
    assert place is not None  # noqa: S101 - and that the moment is a message
    what = f"It holds {extent.first.position} to {extent.last.position}."
    if place[:2] < extent.start[:2] or place[:2] > extent.end[:2]:
        raise NotFound(f"Message {moment.position} is not in {topic}.", hint=what)


def check_found(moment: Moment, topic: str, found: str) -> None:
    """See that the message read at a position is the one asked for.

    Raises:
        NotFound: It is another one: the position is of another topic, or was deleted.
    """
    place = moment.place
    if place is not None and read_place(found)[:2] != place[:2]:
        raise NotFound(
            f"Message {moment.position} is not in {topic}.",
            hint=f"The next one that it holds is {found}.",
        )
