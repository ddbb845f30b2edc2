"""Where played objects go: the outputs of `wtp consume`, or a room (`into`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wtp.consumer.output import Nowhere, Output
from wtp.consumer.worker import Worker
from wtp.replayer.placed import Placed, played

CLOSE_S = 2.0
"""What a slow output gets to finish."""


class Sink(Protocol):
    """Takes played objects, on the loop.

    Attributes:
        idle_s: How often `idle` is to be called while nothing comes; 0 for never.
    """

    idle_s: float

    async def open(self, topics: Sequence[str]) -> None:
        """Make ready; `topics` are those that are read. Raises when it cannot work."""
        ...

    async def take(self, items: Sequence[Placed]) -> list[str]:
        """Take objects; for each "" when it was taken, else why it was left out."""
        ...

    async def idle(self) -> None:
        """Do what is due while nothing comes."""
        ...

    async def close(self) -> None:
        """Finish; may be called when `open` failed."""
        ...


class OutputSink:
    """One of the consumer's outputs; one that may block gets a thread of its own.

    Args:
        output: The output.
    """

    def __init__(self, output: Output | None = None) -> None:
        self._output: Output = output or Nowhere()
        self.idle_s = self._output.idle_s
        self._worker: Worker | None = None
        self._busy = False

    async def open(self, topics: Sequence[str]) -> None:
        """Open the output."""
        if not self._output.inline:
            self._worker = Worker("output")
        await self._call(self._output.open)

    async def take(self, items: Sequence[Placed]) -> list[str]:
        """Hand objects to the output, parsed unless it takes anything."""
        if isinstance(self._output, Nowhere):
            return [""] * len(items)
        self._busy = True
        reasons: list[str] = await self._call(self._take, items)
        self._busy = False
        return reasons

    def _take(self, items: Sequence[Placed]) -> list[str]:
        return self._output.take([played(item) for item in items])

    async def idle(self) -> None:
        """Let the output do what is due."""
        await self._call(self._output.idle)

    async def close(self) -> None:
        """Close the output, unless it hangs in a write."""
        if not self._busy:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._call(self._output.close)
            except TimeoutError:
                pass
        if self._worker is not None:
            self._worker.close()

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._worker is None:
            return function(*args)
        return await self._worker.call(function, *args)
