"""`wtp` for the harness: `python -m tests.chaos.entry [--lie] COMMAND...`.

The status of a child comes fifty times a second, so that the harness knows what was acknowledged
when it strikes. With --lie the router is a broken build, which sends the receipt before the broker
has the object: the harness must find it out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from wtp.broker.client import Producer
from wtp.cli.face import ChildFace
from wtp.model import Object
from wtp.router.route import Route

PERIOD_S = 0.02


def lie() -> None:
    """Let every route take its objects for delivered as soon as the client has them."""
    honest = Route._hand_over

    def hand_over(
        self: Route, producer: Producer, obj: Object, seq: int | None, done: Callable[..., None]
    ) -> None:
        honest(self, producer, obj, seq, lambda error: None)
        asyncio.get_running_loop().call_soon(done, None)

    Route._hand_over = hand_over  # type: ignore[method-assign]


def main() -> None:
    """Run the command."""
    ChildFace.period_s = PERIOD_S
    if sys.argv[1] == "--lie":
        del sys.argv[1]
        lie()
    from wtp.cli import main as command

    command()


if __name__ == "__main__":
    main()
