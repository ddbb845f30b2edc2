"""Calling user code with one object after the other; runs in the code's own process."""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

from wtp.errors import WireError
from wtp.processor.arguments import MOST_TRACKS, Arguments, NoKey
from wtp.processor.code import CodeFailed
from wtp.processor.load import Loaded, describe
from wtp.processor.results import parcels
from wtp.wire.process import MOST_OBJECTS, Parcel


class Caller:
    """Applies loaded code to objects.

    Args:
        loaded: The code.
        name: Its short name.
    """

    def __init__(self, loaded: Loaded, name: str) -> None:
        self._loaded = loaded
        self._name = name
        self._arguments = Arguments(loaded.wish)
        self._instances: OrderedDict[str, Callable[..., Any]] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, parcel: Parcel) -> tuple[list[Parcel], str]:
        """Apply the code to one object.

        Returns:
            What it made of it, and why it was not called ("no-key") or "".

        Raises:
            CodeFailed: It did not cope.
        """
        try:
            obj = parcel.object()
            first, info = self._arguments.make(parcel, obj)
        except NoKey:
            return [], "no-key"
        except WireError as error:
            raise CodeFailed(error.message, hint=error.hint, code="damaged") from error
        arguments = (first, info) if self._loaded.with_info else (first,)
        try:
            values = self._all(self._callable(parcel.track)(*arguments))
        except BaseException as error:
            raise CodeFailed(f"{self._name} failed: {describe(error)}") from error
        return parcels(values, parcel, info, self._name), ""

    def _callable(self, track: str) -> Callable[..., Any]:
        if not self._loaded.per_track:
            return self._loaded.call
        instance = self._instances.get(track)
        if instance is None:
            instance = self._instances[track] = self._loaded.call()
            if len(self._instances) > MOST_TRACKS:
                self._instances.popitem(last=False)
        self._instances.move_to_end(track)
        return instance

    def _all(self, returned: Any) -> list[Any]:
        """Every value behind what was returned; at most one more than is allowed."""
        if inspect.isawaitable(returned):
            returned = self._run(_wait(returned))
        if returned is None:
            return []
        if isinstance(returned, AsyncIterator):
            returned = self._run(_gather(returned))
        if isinstance(returned, (list, tuple, Iterator)):
            values = []
            for value in returned:
                if value is not None:
                    values.append(value)
                if len(values) > MOST_OBJECTS:
                    break
            return values
        return [returned]

    def _run(self, work: Any) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """Close the loop that async code ran on."""
        if self._loop is not None:
            self._loop.close()


async def _wait(returned: Any) -> Any:
    return await returned


async def _gather(values: AsyncIterator[Any]) -> list[Any]:
    found: list[Any] = []
    async for value in values:
        found.append(value)
        if len(found) > MOST_OBJECTS:
            break
    if isinstance(values, AsyncGenerator):
        await values.aclose()
    return found
