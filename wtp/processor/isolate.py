"""User code in processes of its own: its faults cost one object each.

An exception, a wrong return type, a hang, `os._exit`, a segmentation fault or too much memory is
counted by its reason, and a process that ended is started again at once. A track always goes to the
same process, in the order in which `process` is called.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

from wtp.clock import monotonic_us
from wtp.errors import WireError, WtpError
from wtp.metrics import Latency
from wtp.model import Kind
from wtp.processor.code import CodeFailed, CodeMissing, CodeSpec
from wtp.processor.codeprocess import CodeProcess, told
from wtp.processor.pipe import What
from wtp.wire.process import OBJECTS_TYPE, Parcel, decode_answer

log = logging.getLogger("wtp.processor")

FIRST_WAIT_S, LAST_WAIT_S = 0.1, 5.0
SHORT_LIFE_S = 0.5
"""A process that ended sooner is started again after a pause."""

LOOK_S = 0.5
"""How often a file is looked at for changes."""

PATIENCE_S = 4.0
"""How long an object waits for a process that is being started."""

DEFAULT_MEMORY_BYTES = 4 << 30
SAY_AGAIN_S = 5.0
"""Failures with one reason are logged this seldom; all are counted."""

_ANSWER = {"Content-Type": OBJECTS_TYPE}


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one object.

    Attributes:
        parcels: What the code made of it, to be published; its track is the input's, or
            `<name>-<code>` for another kind.
        reason: Why the code was not asked: `no-key`; empty when it was.
    """

    parcels: list[Parcel] = field(default_factory=list)
    reason: str = ""


class Runner(Protocol):
    """What applies code to objects."""

    async def start(self) -> None:
        """Load the code; UsageError when it cannot be loaded, CodeMissing when not now."""

    async def process(self, parcel: Parcel) -> Made:
        """Apply the code to one object; calls for one track are served in their order.

        Raises:
            CodeFailed: It did not cope with this object; `code` is the reason.
            CodeMissing: It is not there at the moment; the object may be tried again.
        """

    async def close(self) -> None:
        """End the code's processes; what they work on fails."""

    def snapshot(self) -> dict[str, Any]:
        """`code`, `ready`, `calls`, `failed` by reason, `no_key`, `restarts`, `reloads`, `call`."""


def make_runner(
    spec: CodeSpec,
    kind: Kind,
    *,
    workers: int = 1,
    timeout_s: float = 5.0,
    reload: bool = False,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Runner:
    """A runner for code; to be started, and closed at the end.

    Args:
        spec: The code.
        kind: What it will be given.
        workers: Processes.
        timeout_s: Time for one object, in seconds.
        reload: Load the code again when its file changes.
        max_memory_bytes: Of data that each process may have; 0 sets no limit.

    Raises:
        UsageError: A built-in is not made for this kind.
    """
    spec.check_kind(kind)
    if spec.builtin and spec.name == "passthrough":
        return Bare(spec)
    return Isolated(spec, kind, workers, timeout_s, reload, max_memory_bytes)


class Bare:
    """The built-in `passthrough`, which needs no process of its own."""

    def __init__(self, spec: CodeSpec) -> None:
        self._spec = spec
        self._calls = 0

    async def start(self) -> None:
        """Nothing to do."""

    async def process(self, parcel: Parcel) -> Made:
        """The object as it came."""
        self._calls += 1
        return Made([parcel])

    async def close(self) -> None:
        """Nothing to do."""

    def snapshot(self) -> dict[str, Any]:
        """As `Runner.snapshot`."""
        return {
            "code": self._spec.text, "ready": True, "workers": 0, "calls": self._calls,
            "failed": {}, "no_key": 0, "restarts": 0, "reloads": 0, "problem": "",
            "call": Latency().snapshot(),
        }  # fmt: skip


class _Slot:
    """One of the processes that share the tracks."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.there = asyncio.Event()
        self.process: CodeProcess | None = None

    def fill(self, process: CodeProcess) -> CodeProcess | None:
        """Use this process from now on; returns the one before."""
        before, self.process = self.process, process
        self.there.set()
        return before


class Isolated:
    """A `Runner` over processes of its own; its arguments are those of `make_runner`."""

    def __init__(
        self,
        spec: CodeSpec,
        kind: Kind,
        workers: int,
        timeout_s: float,
        reload: bool,
        max_memory_bytes: int,
    ) -> None:
        self.spec = spec
        self.problem = ""
        """Why the code cannot be loaded at the moment."""
        self._kind = kind
        self._timeout_s = timeout_s
        self._reload = reload
        self._memory_bytes = max_memory_bytes
        self._slots = [_Slot() for _ in range(max(1, workers))]
        self._tasks: set[asyncio.Task[None]] = set()
        self._source: str | None = None
        self._calls = self._no_key = self._restarts = self._reloads = 0
        self._failed: Counter[str] = Counter()
        self._said: dict[str, float] = {}
        self._call = Latency()

    async def start(self) -> None:
        """Load the code in every process."""
        seen = _mtime(self.spec.target) if self.spec.is_file else 0
        self._source = self._read()
        try:
            async with asyncio.TaskGroup() as group:
                for slot in self._slots:
                    group.create_task(self._fill(slot))
        except BaseExceptionGroup as errors:
            await self.close()
            raise _first(errors) from errors
        for slot in self._slots:
            self._spawn(self._keep(slot))
        if self._reload:
            self._spawn(self._watch(seen))

    def _read(self) -> str | None:
        if not self.spec.is_file:
            return None
        try:
            return Path(self.spec.target).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CodeMissing(
                f"{self.spec.target} cannot be read: {error}.", hint="Check the file."
            ) from error

    async def _fill(self, slot: _Slot) -> None:
        slot.fill(await self._new(self._source))

    def _new(self, source: str | None) -> Coroutine[Any, Any, CodeProcess]:
        return CodeProcess.start(self.spec, self._kind, source, self._memory_bytes)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def process(self, parcel: Parcel) -> Made:
        """Apply the code to one object."""
        slot = self._slots[crc32(parcel.track.encode()) % len(self._slots)]
        async with slot.turn:
            process = await self._process_of(slot)
            start_us = monotonic_us()
            self._calls += 1
            try:
                what, said, body = await process.apply(parcel, self._timeout_s)
                if what is not What.RESULT:
                    raise told(said)
                made = decode_answer(_ANSWER, body, parcel, "binary") if body else []
            except CodeFailed as error:
                self._count(error)
                if error.code in ("timeout", "crash") and slot.process is process:
                    slot.there.clear()  # the next object waits for the next process
                raise
            except (WireError, KeyError) as error:
                process.kill()
                failed = CodeFailed(f"{self.spec.name} answered garbage.", code="crash")
                self._count(failed)
                raise failed from error
        self._call.add(monotonic_us() - start_us)
        self._no_key += said["reason"] == "no-key"
        return Made(made, said["reason"])

    async def _process_of(self, slot: _Slot) -> CodeProcess:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await slot.there.wait()
        except TimeoutError:
            problem = self.problem or f"{self.spec.text} is being started."
            raise CodeMissing(problem, hint="Try again in a moment.") from None
        assert slot.process is not None  # noqa: S101 - filled before `there`
        return slot.process

    def _count(self, error: CodeFailed) -> None:
        self._failed[error.code] += 1
        now = asyncio.get_running_loop().time()
        if now - self._said.get(error.code, -SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._said[error.code] = now
            log.warning("An object was lost (%s): %s", error.code, error.message)

    async def _keep(self, slot: _Slot) -> None:
        """Start a slot's process again whenever it ends; runs for ever."""
        loop = asyncio.get_running_loop()
        wait_s = FIRST_WAIT_S
        while True:
            process, began = slot.process, loop.time()
            assert process is not None  # noqa: S101 - filled by `start`
            await process.ended.wait()
            if slot.process is not process:
                continue
            slot.there.clear()
            if loop.time() - began < SHORT_LIFE_S:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LAST_WAIT_S)
            else:
                wait_s = FIRST_WAIT_S
            await self._replace(slot, process)

    async def _replace(self, slot: _Slot, gone: CodeProcess) -> None:
        wait_s = FIRST_WAIT_S
        while slot.process is gone:
            try:
                process = await self._new(self._source)
            except WtpError as error:
                if error.message != self.problem:
                    self.problem = error.message
                    log.warning("%s", error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LAST_WAIT_S)
                continue
            self.problem = ""
            self._restarts += 1
            if slot.process is gone:
                slot.fill(process)
            else:  # a reload was faster
                await process.close()

    async def _watch(self, seen: int) -> None:
        """Load the code again when its file changes; runs for ever."""
        first = self._slots[0].process
        file = self.spec.target if self.spec.is_file else first.file if first else ""
        seen = seen or _mtime(file)
        while True:
            await asyncio.sleep(LOOK_S)
            changed = _mtime(file)
            if changed and changed != seen:
                seen = changed
                await self._load_again(file)

    async def _load_again(self, file: str) -> None:
        fresh: list[CodeProcess] = []
        try:
            source = self._read()
            for _ in self._slots:
                fresh.append(await self._new(source))  # noqa: PERF401 - what is there is closed
        except WtpError as error:
            log.warning("%s changed, and is not used: %s", file, error.message)
            for process in fresh:
                await process.close()
            return
        except asyncio.CancelledError:
            await asyncio.gather(*(process.close() for process in fresh))
            raise
        self._source = source
        for slot, process in zip(self._slots, fresh, strict=True):
            async with slot.turn:
                before = slot.fill(process)
            if before is not None:
                await before.close()
        self._reloads += 1
        self.problem = ""
        log.info("%s changed and was loaded again.", file)

    async def close(self) -> None:
        """End the code's processes."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        processes = [slot.process for slot in self._slots if slot.process is not None]
        await asyncio.gather(*(process.close() for process in processes))

    def snapshot(self) -> dict[str, Any]:
        """As `Runner.snapshot`."""
        return {
            "code": self.spec.text,
            "ready": all(slot.there.is_set() for slot in self._slots),
            "workers": len(self._slots),
            "calls": self._calls,
            "failed": dict(self._failed),
            "no_key": self._no_key,
            "restarts": self._restarts,
            "reloads": self._reloads,
            "problem": self.problem,
            "call": self._call.snapshot(),
        }


def _mtime(file: str) -> int:
    with suppress(OSError):
        return os.stat(file).st_mtime_ns
    return 0


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
