"""One process that user code runs in, from the processor's side."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from typing import Any

from wtp.children.child import child_environment
from wtp.errors import UsageError, WtpError
from wtp.model import Kind
from wtp.processor.code import CodeFailed, CodeMissing, CodeSpec
from wtp.processor.pipe import Frames, What, pack
from wtp.wire.process import Parcel

log = logging.getLogger("wtp.processor")

LOAD_S = 60.0
"""How long importing user code may take; large models are read from disk then."""

SAY_LOADING_S = 5.0
"""An import that takes longer is told, so that nobody takes it for a hang of ours."""

END_S = 1.0
"""How long a process may take to end by itself."""

BUFFER_BYTES = 1 << 20
"""Asked of the system for either direction, so that most objects go over in one call."""

MOST_LINE_BYTES = 64 * 1024
LINES_PER_S = 20
"""Lines that code may print into the log; the others are dropped and counted."""

Answer = tuple[What, dict[str, Any], bytes]


class CodeProcess(asyncio.Protocol):
    """A running process with loaded code; one object at a time. Made by `start`."""

    def __init__(self, code: str) -> None:
        self.ended = asyncio.Event()
        """Set when the process is gone."""
        self.file = ""
        """Where the code was loaded from."""
        self._code = code
        self._frames = Frames()
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._why = ""

    @classmethod
    async def start(
        cls, spec: CodeSpec, kind: Kind, source: str | None, max_memory_bytes: int
    ) -> CodeProcess:
        """Start a process and load code in it.

        Args:
            spec: The code.
            kind: What it will be given.
            source: Text to run instead of that in the file.
            max_memory_bytes: Of data the process may have; 0 sets no limit.

        Raises:
            UsageError: The code cannot be loaded.
            CodeMissing: The process does not start, or importing takes over a minute.
        """
        self = cls(spec.name)
        ours, theirs = socket.socketpair()
        try:
            await self._spawn(ours, theirs, max_memory_bytes)
            meta = {"code": spec.text, "kind": kind.value, "source": source}
            what, said, _ = await self._load(pack(What.LOAD, meta), spec)
        except CodeFailed as error:
            await self.close()
            late = error.code == "timeout"
            why = f"importing it took longer than {LOAD_S:g} s." if late else error.message
            raise CodeMissing(
                f"{spec.text} cannot be loaded: {why}",
                hint="Check what it does when it is imported.",
            ) from error
        except BaseException:
            await self.close()
            raise
        if what is What.FAILED:
            await self.close()
            raise UsageError(str(said["message"]), hint=str(said["hint"]))
        self.file = str(said["file"])
        return self

    async def _spawn(
        self, ours: socket.socket, theirs: socket.socket, max_memory_bytes: int
    ) -> None:
        loop = asyncio.get_running_loop()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            ours.setblocking(False)
            self._transport, _ = await loop.create_unix_connection(lambda: self, sock=ours)
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "wtp.processor.child",
                    str(theirs.fileno()), str(max_memory_bytes),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    env=child_environment({}),
                    limit=MOST_LINE_BYTES,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise CodeMissing(
                    f"A process for {self._code} cannot be started: {error.strerror}.",
                    hint="Free memory or processes on this machine.",
                ) from error
        self._listening = asyncio.create_task(self._listen(self._process))

    @property
    def pid(self) -> int:
        """Its process id; 0 before the start."""
        return self._process.pid if self._process else 0

    async def _load(self, pieces: list[bytes], spec: CodeSpec) -> Answer:
        """Have the code imported, and say so when that takes long."""
        loop = asyncio.get_running_loop()
        notice = loop.call_later(
            SAY_LOADING_S, log.info, "%s is still being imported; up to %g s are given.",
            spec.text, LOAD_S,
        )  # fmt: skip
        try:
            return await self._ask(pieces, LOAD_S)
        finally:
            notice.cancel()

    async def apply(self, parcel: Parcel, timeout_s: float) -> Answer:
        """Give it an object and wait for what it makes of it; one caller at a time.

        Raises:
            CodeFailed: `timeout`: it took too long and is being ended; `crash`: it ended.
        """
        meta = {"track": parcel.track, "properties": dict(parcel.properties)}
        return await self._ask(pack(What.OBJECT, meta, parcel.payload), timeout_s)

    async def _ask(self, pieces: list[bytes], timeout_s: float) -> Answer:
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            raise self._crashed()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._answer = answer
        self._transport.writelines(pieces)
        alarm = loop.call_later(timeout_s, self._expire, timeout_s)
        try:
            return await answer
        except asyncio.CancelledError:
            self.kill()  # nobody waits for its answer: the next one would get it
            raise
        finally:
            alarm.cancel()
            self._answer = None

    def _expire(self, timeout_s: float) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(
                CodeFailed(
                    f"{self._code} took longer than {timeout_s:g} s for one object.",
                    hint="Make it faster, or raise processor.timeout_s.",
                    code="timeout",
                )
            )
        self.kill()

    def data_received(self, data: bytes) -> None:
        """Bytes from the code's process."""
        try:
            frames = self._frames.feed(data)
        except (ValueError, RecursionError):
            self._why = "it wrote into its processor's socket"
            self.kill()
            return
        for frame in frames:
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process closed its end, mostly by ending."""
        self.kill()

    def _crashed(self) -> CodeFailed:
        why = self._why or "its process ended"
        return CodeFailed(
            f"{self._code} crashed: {why}.", hint="It is started again.", code="crash"
        )

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Log what the code prints until its process has ended."""
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        loop = asyncio.get_running_loop()
        window, count = loop.time(), 0
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                continue
            if not line:
                break
            if loop.time() - window > 1:
                if count > LINES_PER_S:
                    log.info("%s: %d lines left out", self._code, count - LINES_PER_S)
                window, count = loop.time(), 0
            count += 1
            if count <= LINES_PER_S:
                log.info("%s: %s", self._code, line.decode("utf-8", "replace").rstrip()[:500])
        code = await process.wait()
        if not self._why:
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            self._why = f"its process ended ({how})"
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(self._crashed())
        if self._transport is not None:
            self._transport.close()
        self.ended.set()

    def kill(self) -> None:
        """End it at once, with whatever the code started."""
        if self._process is not None and not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Let it end, or end it, and wait until it is gone."""
        if self._transport is not None:
            self._transport.close()
        process, listening = self._process, self._listening
        if process is None or listening is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await asyncio.shield(listening)
        except TimeoutError:
            self.kill()
            await asyncio.shield(listening)
        except asyncio.CancelledError:
            self.kill()
            raise


def told(said: dict[str, Any]) -> WtpError:
    """The error for a `FAILED` frame about one object."""
    reason = str(said["code"])
    return CodeFailed(str(said["message"]), hint=str(said["hint"]), code=reason)
