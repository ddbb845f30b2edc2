"""Real `wtp` processes for tests: started, watched, ended by pid, searched for remains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

MARK = "WTP_TEST_MARK"
"""Environment variable that every descendant of a test's process inherits."""

ROOT = Path(__file__).resolve().parent.parent


REPORTED = 2500
"""Characters of an output that a failed assertion shows."""


def _end(text: str) -> str:
    return text if len(text) <= REPORTED else f"... {text[-REPORTED:]}"


class Process:
    """One running command with its output in files.

    Attributes:
        popen: The process itself.
        argv: Its command line.
    """

    def __init__(self, popen: subprocess.Popen[bytes], argv: list[str], out: Path, err: Path):
        self.popen = popen
        self.argv = argv
        self._out = out
        self._err = err

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    @property
    def stdout(self) -> str:
        """What it has written to stdout so far."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, timeout_s: float = 60.0) -> str:
        """Wait until stdout or stderr holds `text`; returns the line it stands in."""
        end = time.monotonic() + timeout_s
        while True:
            ended = self.popen.poll() is not None
            for output in (self.stdout, self.stderr):
                if text in output:
                    return next(line for line in output.splitlines() if text in line)
            if ended or time.monotonic() > end:
                state = f"ended with {self.popen.returncode}" if ended else f"ran {timeout_s} s"
                raise AssertionError(f"{text!r} never came, {state}.\n{self.report()}")
            time.sleep(0.02)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait until it ends by itself; returns the exit code."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"It still runs after {timeout_s} s.\n{self.report()}") from None

    def stop(self, signal_number: int = signal.SIGINT, timeout_s: float = 60.0) -> int:
        """Send a signal (default: that of Ctrl-C) and wait; returns the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal_number)
        return self.wait(timeout_s)

    def report(self) -> str:
        """Command and the end of its output, for the message of a failed assertion."""
        out, err = _end(self.stdout), _end(self.stderr)
        return f"$ {' '.join(self.argv)}\n--- stdout\n{out}\n--- stderr\n{err}"


class Processes:
    """Starts processes and, at `close`, ends them and looks for what they left.

    Each gets a temporary folder of its own (TMPDIR) and a mark in its environment, by which
    children are found wherever they moved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = uuid.uuid4().hex
        self._all: list[Process] = []
        self._killed = False
        self.temp = folder / "tmp"
        self.temp.mkdir()

    def __call__(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        python: str = sys.executable,
        stdin: bytes | None = None,
    ) -> Process:
        """Start `python -m wtp ARGS`.

        Args:
            args: The command line behind `wtp`.
            env: Variables over this process's environment.
            cwd: Working folder; default: the checkout.
            python: Interpreter, for another virtual environment.
            stdin: What to write to its stdin before that is closed; None: nothing (/dev/null).
        """
        argv = [python, "-m", "wtp", *args]
        stem = self._folder / f"process-{len(self._all)}"
        out, err = stem.with_suffix(".out"), stem.with_suffix(".err")
        variables = {**os.environ, **(env or {}), MARK: self._mark, "TMPDIR": str(self.temp)}
        with out.open("wb") as out_file, err.open("wb") as err_file:
            popen = subprocess.Popen(
                argv,
                cwd=cwd or ROOT,
                env=variables,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
            )
        process = Process(popen, argv, out, err)
        self._all.append(process)
        if stdin is not None and popen.stdin is not None:
            try:
                popen.stdin.write(stdin)
                popen.stdin.close()
            except BrokenPipeError:
                pass
        return process

    def kill(self, pid: int) -> None:
        """Kill -9 one process of this test, a child of the started ones included."""
        assert pid in self.alive() or pid in [p.pid for p in self._all]
        self._killed = True
        os.kill(pid, signal.SIGKILL)

    def alive(self) -> dict[int, str]:
        """Pid and command line of everything that carries the mark and still runs."""
        mark = f"{MARK}={self._mark}".encode()
        out: dict[int, str] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    argv = (folder / "cmdline").read_bytes()
                    out[int(folder.name)] = argv.replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
        return out

    def close(self) -> list[str]:
        """End everything; returns a sentence for each thing that should not be there."""
        faults = []
        for process in self._all:
            if process.popen.poll() is None:
                process.popen.terminate()
        for process in self._all:
            try:
                process.popen.wait(60)
            except subprocess.TimeoutExpired:
                faults.append(f"SIGTERM did not end it within 10 s.\n{process.report()}")
                process.popen.kill()
                process.popen.wait()
            self._killed |= process.popen.returncode == -signal.SIGKILL
        end = time.monotonic() + 3.0
        while (left := self.alive()) and time.monotonic() < end:
            time.sleep(0.05)
        for pid, argv in left.items():
            faults.append(f"Process {pid} was left behind: {argv}")
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not self._killed:
            faults += [f"{path} was left behind." for path in self.temp.iterdir()]
        return faults
