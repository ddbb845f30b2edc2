"""What publishers of both ways share: inputs run to their end, and receipts are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from wtp.publisher.feeds import Feed
from wtp.publisher.outgoing import NOT_TEXT, TOO_LARGE
from wtp.publisher.reliable import ReliableTrack


async def run_feeds(feeds: Sequence[Feed], duration_s: float, expire: Callable[[], None]) -> None:
    """Run every input to its end.

    Args:
        feeds: The inputs.
        duration_s: Seconds after which `expire` is called; 0 for never.
        expire: Ends the inputs.
    """
    loop = asyncio.get_running_loop()
    timer = loop.call_later(duration_s, expire) if duration_s else None
    try:
        async with asyncio.TaskGroup() as group:
            for feed in feeds:
                group.create_task(feed.run())
    finally:
        if timer is not None:
            timer.cancel()


async def until_stopped(
    work: Coroutine[Any, Any, None], stopping: asyncio.Event, grace_s: float
) -> bool:
    """Wait for something; once an end was asked for, no longer than `grace_s` seconds more.

    Returns:
        Whether it came to its end.
    """
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.wait({working}, timeout=grace_s)
        return working.done()
    finally:
        working.cancel()
        stopped.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)


def unreceipted(feeds: Sequence[Feed]) -> Iterator[str]:
    """Say which reliable objects have no receipt, a sentence for each track."""
    for feed in feeds:
        track, ledger = feed.track, feed.track.ledger
        refused = ledger.dropped[TOO_LARGE] + ledger.dropped[NOT_TEXT]
        lost = ledger.offered - ledger.delivered - refused
        if isinstance(track, ReliableTrack) and lost:
            name = track.spec.name
            yield f"{lost} of {ledger.offered} objects of {name} have no receipt of the broker."


def announced(feeds: Sequence[Feed]) -> dict[str, Any]:
    """The tracks as a publisher announces them when it is ready."""
    return {
        feed.track.spec.name: {
            "kind": feed.track.spec.kind.value,
            "content_type": feed.track.spec.content_type,
            **feed.figures(),
        }
        for feed in feeds
    }
