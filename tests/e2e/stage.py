"""A broker and a router for a test: real processes on free ports, killed and started at will."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulsar

from tests.processes import MARK, Process, Processes

START_S = 60.0
"""Seconds a process may take to say that it is ready, on a machine that runs other tests too."""

Values = dict[str, Any]


class Run(Process):
    """A process with `--child`: its events are read back, its stdin is the life line."""

    def __init__(self, popen: subprocess.Popen[bytes], argv: list[str], out: Path, err: Path):
        super().__init__(popen, argv, out, err)
        self._events: list[Values] = []
        self._file = out
        self._read_bytes = 0

    def events(self) -> list[Values]:
        """All events so far."""
        with self._file.open("rb") as file:
            file.seek(self._read_bytes)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read_bytes += len(whole + newline)
        lines = whole.splitlines()
        self._events += [json.loads(line) for line in lines if line.startswith(b"{")]
        return self._events

    def event(self, name: str, timeout_s: float = START_S) -> Values:
        """Wait for the first event of a name."""
        return self.until(lambda one: one["event"] == name, f"the event {name}", timeout_s)

    def until(
        self, wanted: Callable[[Values], object], what: str, timeout_s: float = START_S
    ) -> Values:
        """Wait for the first event that fits."""
        end = time.monotonic() + timeout_s
        while True:
            ended = self.popen.poll() is not None
            for event in self.events():
                if wanted(event):
                    return event
            if ended or time.monotonic() > end:
                raise AssertionError(f"No sign of {what}.\n{self.report()[-6000:]}")
            time.sleep(0.02)

    def since(
        self, mark: int, wanted: Callable[[Values], object], what: str, timeout_s: float = START_S
    ) -> Values:
        """Wait for an event that fits behind the first `mark` ones."""
        found: Values = wait_for(
            lambda: next((one for one in self.events()[mark:] if wanted(one)), None),
            lambda: f"{what}\n{self.report()[-6000:]}",
            timeout_s,
        )
        return found

    @property
    def last(self) -> Values:
        """The newest status or summary."""
        seen = [one for one in self.events() if one["event"] in ("status", "summary")]
        return seen[-1] if seen else {}

    def finish(self, timeout_s: float = 60.0) -> Values:
        """End its life line and wait; returns its summary."""
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        code = self.wait(timeout_s)
        assert code == 0, self.report()[-6000:]
        return self.event("summary")

    def ended(self, timeout_s: float = 60.0) -> Values:
        """Wait until it ends by itself with 0; returns its summary."""
        code = self.wait(timeout_s)
        assert code == 0, self.report()[-6000:]
        return self.event("summary")


def wait_for(
    condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = 15.0
) -> Any:
    """Poll until a condition is true; returns its value."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"It never came to: {what if isinstance(what, str) else what()}")
        time.sleep(0.02)
    return value


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 free for TCP and UDP, below the range of outgoing connections."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as sock:
                    sock.bind(("127.0.0.1", port))
        except OSError:
            continue
        if port not in found:
            found.append(port)
    return found


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a foreign client reads it."""

    key: str
    payload: bytes
    properties: Mapping[str, str]
    event_ms: int

    @property
    def seq(self) -> int:
        """The object's sequence."""
        return int(self.properties["seq"])

    @property
    def capture_us(self) -> int:
        """The object's capture time."""
        return int(self.properties["capture_us"])


class Stage(Processes):
    """Where a test plays: a folder, three ports, and what runs on them.

    Args:
        folder: For everything it writes.

    Attributes:
        home: WTP_HOME of every process: broker data and certificate.
        env: What leads every command here.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.router_port, self.broker_port, self.http_port = free_ports(3)
        self.router_url = f"https://127.0.0.1:{self.router_port}/wt"
        self.broker_url = f"pulsar://127.0.0.1:{self.broker_port}"
        self.admin_url = f"http://127.0.0.1:{self.http_port}"
        self.env = {
            **{name: "" for name in os.environ if name.startswith("WTP_")},
            "WTP_HOME": str(self.home),
            "WTP_ROUTER": self.router_url,
            "WTP_ROUTER_LISTEN": f"127.0.0.1:{self.router_port}",
            "WTP_BROKER": self.broker_url,
            "WTP_ADMIN": self.admin_url,
            "WTP_BROKER_LISTEN": f"127.0.0.1:{self.broker_port}",
            "WTP_BROKER_HTTP": f"127.0.0.1:{self.http_port}",
            "WTP_BROKER_START": "0",
            "PYTHONUNBUFFERED": "1",
        }

    def command(
        self,
        *args: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Start a command as a user would, in the stage's folder."""
        return self(*args, stdin=stdin, env={**self.env, **(env or {})}, cwd=cwd or self.folder)

    def child(
        self, *args: str, env: Mapping[str, str] | None = None, entry: Sequence[str] = ("wtp",)
    ) -> Run:
        """Start a command whose events are read.

        Args:
            args: The command line behind `wtp`.
            env: Variables over those of the stage.
            entry: The module that is run, and words before the command.
        """
        return self._start([*args, "--child"], env or {}, entry)

    def typed(self, *args: str, env: Mapping[str, str] | None = None) -> tuple[Run, Lines]:
        """Start a command with a standard input that stays open, and what writes to it."""
        run = self._start(list(args), env or {})
        return run, Lines(run)

    @property
    def mark(self) -> dict[str, str]:
        """Variables by which processes are known as the stage's, and their temporary folder."""
        return {MARK: self._mark, "TMPDIR": str(self.temp)}

    def _start(
        self, args: list[str], env: Mapping[str, str], entry: Sequence[str] = ("wtp",)
    ) -> Run:
        argv = [sys.executable, "-m", *entry, *args]
        stem = self.folder / f"process-{len(self._all)}"
        out, err = stem.with_suffix(".out"), stem.with_suffix(".err")
        variables = {**os.environ, **self.env, **env, **self.mark}
        with out.open("wb") as out_file, err.open("wb") as err_file:
            popen = subprocess.Popen(
                argv,
                cwd=self.folder,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
            )
        run = Run(popen, argv, out, err)
        self._all.append(run)
        return run

    def broker(self, *args: str) -> Run:
        """Start the broker on its folder and wait until it is ready."""
        run = self.child("broker", *args)
        run.event("ready")
        return run

    def router(self, *args: str, env: Mapping[str, str] | None = None) -> Run:
        """Start the router and wait until it is ready."""
        run = self.child("router", *args, env=env)
        run.event("ready")
        return run

    def kill_hard(self, run: Process) -> None:
        """Kill -9 and wait."""
        self.kill(run.pid)
        run.popen.wait()

    def stats(self) -> Values:
        """The router's /stats; empty while it does not answer."""
        try:
            context = ssl.create_default_context(cafile=str(self.home / "certs" / "wtp.crt"))
            url = f"https://127.0.0.1:{self.router_port}/stats"
            with urllib.request.urlopen(url, context=context, timeout=2.0) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def read(self, kind: str, room: str = "default", expect: int = 0) -> list[Message]:
        """Everything in a topic, by the plain Pulsar client; waits until `expect` are there."""
        topic = f"persistent://public/{room}/{kind}"
        found: list[Message] = []
        client = pulsar.Client(
            self.broker_url, logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)
        )
        try:
            reader = client.create_reader(topic, pulsar.MessageId.earliest)
            end = time.monotonic() + 10.0
            while reader.has_message_available() or (
                len(found) < expect and time.monotonic() < end
            ):
                try:
                    message = reader.read_next(timeout_millis=500)
                except pulsar.Timeout:
                    continue
                found.append(
                    Message(
                        message.partition_key(),
                        message.data(),
                        message.properties(),
                        message.event_timestamp(),
                    )
                )
        finally:
            client.close()
        return found

    def close(self) -> list[str]:
        """End everything; returns what should not be there."""
        for process in self._all:
            stdin = process.popen.stdin
            if stdin is not None and not stdin.closed:
                try:
                    stdin.close()
                except BrokenPipeError:
                    continue
        return super().close()


class Lines:
    """Writes numbered lines to a process from a thread, at a steady rate.

    Attributes:
        written: How many lines went into the pipe.
    """

    def __init__(self, run: Run) -> None:
        self.written = 0
        self._run = run
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, lines: Sequence[str]) -> None:
        """Write lines now."""
        stdin = self._run.popen.stdin
        assert stdin is not None
        stdin.write("".join(f"{line}\n" for line in lines).encode())
        stdin.flush()
        self.written += len(lines)

    def begin(self, per_second: int, first: int = 1) -> None:
        """Write `first`, `first + 1` and so on until `end`."""

        def work() -> None:
            number = first
            while not self._stop.wait(1 / per_second):
                try:
                    self.write([str(number)])
                except (BrokenPipeError, ValueError):
                    return
                number += 1

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def end(self) -> int:
        """Write no more and close; returns how many lines were written."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        stdin = self._run.popen.stdin
        if stdin is not None:
            with suppress(BrokenPipeError):
                stdin.close()
        return self.written


@contextmanager
def stage_in(folder: Path) -> Iterator[Stage]:
    """A stage for the length of a block; at its end nothing may be left behind."""
    stage = Stage(folder)
    try:
        yield stage
    finally:
        left = stage.close()
    assert not left, "\n".join(left)


def balanced(ledger: Mapping[str, Any]) -> bool:
    """Whether offered = delivered + dropped{reason} + in flight."""
    dropped = sum(ledger["dropped"].values())
    return bool(ledger["offered"] == ledger["delivered"] + dropped + ledger["in_flight"])


def interrupt(process: Process, number: int = signal.SIGINT, timeout_s: float = 60.0) -> int:
    """Signal a process; returns its exit code."""
    return process.stop(number, timeout_s)
