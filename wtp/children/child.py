"""One child process, from the parent's end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from wtp.children.events import Event, error_from
from wtp.errors import WtpError

MAX_EVENT_BYTES = 1024 * 1024
"""Longest event line; a longer one is skipped."""

STDERR_LINES = 20
"""Lines of a child's stderr that are kept for error messages."""

PROGRAM = (sys.executable, "-m", "wtp")

ROOT = Path(__file__).resolve().parent.parent.parent


class Child:
    """One child process, from the parent's side.

    Args:
        args: Words after `wtp`; `--child` is added.
        name: What to call it; default: its command.
        env: More environment variables.
        program: What to run instead of `wtp`.
        on_event: Called with every event as it comes.
        on_exit: Called once when the process has ended.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        name: str = "",
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = PROGRAM,
        on_event: Callable[[Event], None] | None = None,
        on_exit: Callable[[Child], None] | None = None,
    ) -> None:
        self.args = list(args)
        self.name = name or (self.args[0] if self.args else "child")
        self.last: Event = {}
        """The newest `status`, without its event name."""
        self.info: Event = {}
        """What it said when it became ready."""
        self.summary: Event | None = None
        self.error: WtpError | None = None
        self.returncode: int | None = None
        self.ready: asyncio.Future[Event]
        self._env = dict(env or {})
        self._program = list(program)
        self._on_event = on_event
        self._on_exit = on_exit
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """Its process id, 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self.returncode is None

    @property
    def exited(self) -> bool:
        """Whether the process has been started and has ended."""
        return self._process is not None and self.returncode is not None

    @property
    def stderr_tail(self) -> str:
        """The last lines it wrote to stderr."""
        return "\n".join(self._stderr)

    async def start(self) -> Self:
        """Start the process; `ready` resolves when it says so, or fails when it ends before."""
        self.ready = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(_retrieve)
        self._process = await asyncio.create_subprocess_exec(
            *self._program,
            *self.args,
            "--child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(self._env),
            limit=MAX_EVENT_BYTES,
            start_new_session=True,
        )
        self._watch = asyncio.create_task(self._follow(self._process))
        return self

    async def restart(self) -> Event:
        """Start it again, after ending it when it still runs, and wait until it is ready.

        Returns:
            What it said when it became ready.

        Raises:
            WtpError: It ended instead.
        """
        if self.running:
            await self.stop()
        self.info, self.summary, self.error, self.returncode = {}, None, None, None
        await self.start()
        return await asyncio.shield(self.ready)

    async def wait(self) -> int:
        """Wait until the process has ended.

        Returns:
            Its exit code; negative: the signal that killed it.
        """
        if self._watch is not None:
            await asyncio.shield(self._watch)
        return self.returncode if self.returncode is not None else 0

    async def stop(self, timeout: float = 5.0) -> Event | None:
        """Ask it to finish by ending its life line; kill it when it takes longer.

        Returns:
            Its summary, when it gave one.
        """
        if self._process is None:
            return None
        self._stopping = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(timeout):
                await self.wait()
        except TimeoutError:
            self.kill()
            await self.wait()
        except asyncio.CancelledError:
            self.kill()
            await self.wait()
            raise
        return self.summary

    def kill(self) -> None:
        """End it at once; what it started itself ends with its life line."""
        if self._process is not None and self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def failure(self) -> WtpError:
        """Why it ended: the error it reported, or a sentence about its exit."""
        if self.error is not None:
            return self.error
        code = self.returncode or 0
        said = [line for line in self._stderr if line.startswith("error: ")]
        if said and code > 0:
            hints = [line for line in self._stderr if line.startswith("hint: ")]
            return error_from({
                "message": said[-1].removeprefix("error: "),
                "hint": hints[-1].removeprefix("hint: ") if hints else "",
                "exit_code": code,
            })  # fmt: skip
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        spoke = self._stderr and code != -signal.SIGKILL
        hint = f"Its last words: {self._stderr[-1]}" if spoke else ""
        return WtpError(f"The {self.name} process {how}.", hint=hint, code="child-ended")

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Read what the process says until it has ended."""
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        assert process.stderr is not None  # noqa: S101 - likewise
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_stderr(process.stderr))
            tasks.create_task(self._read_events(process.stdout))
        self.returncode = await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        if not self.ready.done():
            self.ready.set_exception(self.failure())
        if self._on_exit is not None:
            self._on_exit(self)

    async def _read_stderr(self, stream: asyncio.StreamReader) -> None:
        while chunk := await _line(stream):
            text = chunk.decode("utf-8", "replace").rstrip()
            if text:
                self._stderr.append(text[:500])

    async def _read_events(self, stream: asyncio.StreamReader) -> None:
        while chunk := await _line(stream):
            with contextlib.suppress(ValueError):
                event = json.loads(chunk)
                if isinstance(event, dict):
                    self._take(event)

    def _take(self, event: Event) -> None:
        name = event.pop("event", "")
        if name == "ready":
            self.info = event
            if not self.ready.done():
                self.ready.set_result(event)
        elif name == "status":
            self.last = event
        elif name == "summary":
            self.summary = self.last = event
        elif name == "error":
            self.error = error_from(event)
        if self._on_event is not None:
            self._on_event({"event": name, **event})


def _retrieve(future: asyncio.Future[Event]) -> None:
    """A child nobody waits for may fail without a complaint from the loop."""
    if not future.cancelled():
        future.exception()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; one that is too long is skipped; empty at the end."""
    while True:
        try:
            return await stream.readline()
        except ValueError:
            continue


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: this one, and in a checkout the way to the package."""
    env = {**os.environ, **more, "PYTHONUNBUFFERED": "1"}
    if (ROOT / "pyproject.toml").is_file():
        paths = [str(ROOT), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
        env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return env
