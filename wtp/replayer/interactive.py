"""A replay that obeys the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from wtp.replayer.keys import Keys
from wtp.replayer.run import Replayer

JUMP_US = 10_000_000
"""How far an arrow key goes."""


class Interactive:
    """A replay with keys: a role as `run_role` takes it.

    Args:
        replayer: The role itself.
        keys: Whether keys are wanted.
        jumps: Whether the arrows make sense: not where what was played cannot be taken back.
    """

    def __init__(self, replayer: Replayer, *, keys: bool, jumps: bool) -> None:
        self._replayer = replayer
        actions: dict[str, Callable[[], object]] = {}
        if keys:
            actions = {
                " ": replayer.toggle_pause, "q": self.stop,
                "+": replayer.faster, "=": replayer.faster, "-": replayer.slower,
            }  # fmt: skip
        if keys and jumps:
            actions["left"] = partial(replayer.jump, -JUMP_US)
            actions["right"] = partial(replayer.jump, JUMP_US)
        self._keys = Keys(actions)
        self._wanted = keys
        self.keyed = False
        """Whether keys are read."""

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Play; the terminal is given back at the end, whatever that is."""
        self.keyed = self._wanted and self._keys.open()
        try:
            await self._replayer.run(ready)
        finally:
            self._keys.close()

    def stop(self) -> None:
        """Finish. The terminal is given back now: what follows may end hard."""
        self._keys.close()
        self._replayer.stop()

    def snapshot(self) -> dict[str, Any]:
        """The replay's figures."""
        return self._replayer.snapshot()
