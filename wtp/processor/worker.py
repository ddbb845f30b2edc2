"""A topic worker: the same user code, from a topic to a derived topic, in any number of copies.

The copies share a durable Key_Shared subscription, so each track is with one of them at a time, in
order. Outputs of the input's own kind go to `<topic>-<code>`, others to their kind's topic; each
has a sequence id that follows from its input's, under a producer named after track, publisher run
and code, so that the broker keeps it once however often the input comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from wtp import __version__
from wtp.broker.accessprobe import knock
from wtp.broker.connect import administer
from wtp.broker.naming import parse_topic
from wtp.clock import monotonic_us
from wtp.config.schema import Settings
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused
from wtp.model import Kind
from wtp.processor.code import CodeSpec
from wtp.processor.isolate import DEFAULT_MEMORY_BYTES, make_runner
from wtp.processor.worker_lane import Figures
from wtp.processor.worker_shift import Shift
from wtp.processor.worker_topics import Places

log = logging.getLogger("wtp.processor")

FIRST_WAIT_S, LAST_WAIT_S = 0.1, 1.0


class Worker:
    """Applies code to the objects of a topic.

    Args:
        settings: Profile.
        kind: Of the objects.
        code: What is applied to them.
        topic: What to read; default: the kind's topic of the settings' room.
        to: Where all outputs go; default: to a topic by their kind.
        subscription: Name of the shared subscription; default: `wtp-<code>`.
        workers: Processes for the code.
        reload: Load the code again when its file changes.
        max_memory_bytes: Of data that each process of the code may have; 0 sets no limit.

    Raises:
        UsageError: A name is not allowed, or (code `cycle`) it would read what it writes.
    """

    def __init__(
        self,
        settings: Settings,
        kind: Kind,
        code: CodeSpec,
        *,
        topic: str = "",
        to: str = "",
        subscription: str = "",
        workers: int = 1,
        reload: bool = False,
        max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> None:
        self.figures = Figures()
        self._settings = settings
        self._kind, self._code = kind, code
        self._places = Places.of(
            settings, kind, code.name, topic=topic, to=to, subscription=subscription
        )
        self._runner = make_runner(
            code,
            kind,
            workers=workers,
            timeout_s=settings.processor.timeout_s,
            reload=reload,
            max_memory_bytes=max_memory_bytes,
        )
        self._stopping = asyncio.Event()
        self._shift: Shift | None = None
        self._begun = 0
        self._notes: dict[str, str] = {}
        self._started_us = monotonic_us()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Work until `stop`.

        Args:
            ready: Called once with `topic`, `subscription`, `to` and `code`.

        Raises:
            BrokerUnavailable: The broker is not there at the start; later it is waited for.
            NotFound: There is no such room.
            BrokerError: `code` is `busy`: the subscription is used in another way.
            UsageError: The code cannot be loaded.
        """
        await knock(self._settings.broker)
        await self._look_at_room()
        await self._runner.start()
        try:
            await self._work(ready)
        finally:
            await self._runner.close()

    def stop(self) -> None:
        """Finish what is under way and leave."""
        self._stopping.set()

    def snapshot(self) -> dict[str, Any]:
        """Live figures as plain values."""
        shift, places = self._shift, self._places
        return {
            "status": self._status(),
            "version": __version__,
            "uptime_s": round((monotonic_us() - self._started_us) / 1e6, 3),
            "kind": self._kind.value,
            "topic": places.source,
            "subscription": places.subscription,
            "to": places.targets[self._kind],
            "connected": shift is not None and shift.connected,
            "begun_anew": max(0, self._begun - 1),
            "tracks": len(shift.lanes) if shift else 0,
            "objects": self.figures.ledger.snapshot(),
            "took": self.figures.took.snapshot(),
            "dead_letters": self.figures.dead_letters,
            "notes": dict(self._notes),
            "code": self._code.text,
            "runner": self._runner.snapshot(),
        }

    def _status(self) -> str:
        if self._stopping.is_set():
            return "draining"
        if self._shift is None or not self._shift.connected:
            return "no-broker"
        return "ok" if self._runner.snapshot()["ready"] else "code-missing"

    async def _work(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """One shift after the other."""
        wait_s = FIRST_WAIT_S
        while not self._stopping.is_set():
            shift = self._shift = Shift(
                self._settings.broker, self._places, self._runner, self.figures
            )
            try:
                await shift.open()
                self._begun += 1
                if self._begun == 1:
                    ready(self._info())
                else:
                    log.info("%s is read again.", self._places.source)
                wait_s = FIRST_WAIT_S
                await shift.run(self._stopping)
            except (BrokerError, Refused) as error:
                if not self._begun or not _passing(error):
                    raise
                log.warning("%s is not read at the moment: %s", self._places.source, error)
                await self._pause(wait_s)
                wait_s = min(2 * wait_s, LAST_WAIT_S)
            finally:
                await shift.close()

    def _info(self) -> dict[str, Any]:
        places = self._places
        return {
            "topic": places.source,
            "subscription": places.subscription,
            "to": places.targets[self._kind],
            "code": self._code.text,
        }

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _look_at_room(self) -> None:
        """Say what cannot be promised.

        Raises:
            NotFound: There is no such room.
        """
        namespace = parse_topic(self._places.source).namespace_path
        admin = administer(self._settings.broker)
        try:
            policies = await admin.policies(namespace)
        except NotFound as error:
            raise NotFound(
                f"There is no namespace {namespace}, so nothing to read.",
                hint="Publish to the room first, or create it with wtp topics create.",
            ) from error
        except (BrokerError, Refused) as error:
            self._notes[namespace] = f"policies unknown: {error.message}"
            return
        finally:
            await admin.close()
        if not policies.deduplication:
            self._notes[namespace] = "de-duplication is off: outputs may come twice after a loss"
            log.warning("%s: %s", namespace, self._notes[namespace])


def _passing(error: BrokerError | Refused) -> bool:
    """Whether beginning anew may help: not where the broker knows us and says no."""
    return isinstance(error, BrokerUnavailable) or error.code in ("busy", "broker", "queue")
