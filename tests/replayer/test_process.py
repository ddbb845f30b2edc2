"""`wtp replay` as a process: pipes, files, signals and a terminal, on the embedded broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest

from tests.processes import ROOT, Processes
from tests.replayer.rooms import RunningRoom, rhythm, running_room
from wtp.model import Kind

pytestmark = pytest.mark.e2e

SECOND_US = 1_000_000
LENGTH_S = 15
LINES = 2 * LENGTH_S
PATIENT_S = 60
"""For a machine on which much else runs."""


@pytest.fixture
async def there(embedded: tuple[str, str], clean_home: Path) -> AsyncIterator[RunningRoom]:
    """A room with a past."""
    made = await running_room(*embedded)
    await made.publish(rhythm(LENGTH_S), made.clock.now_us() - 3600 * SECOND_US)
    yield made
    await made.client.close()


def words(there: RunningRoom, *more: str) -> list[str]:
    broker = there.settings.broker
    return ["replay", "--room", there.name, "--broker", broker.url, "--admin", broker.admin, *more]


def command(there: RunningRoom, *more: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, "-m", "wtp", *words(there, *more)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENT_S, check=False,
    )  # fmt: skip


async def test_lines_files_and_counts(there: RunningRoom, tmp_path: Path) -> None:
    done = await asyncio.to_thread(command, there, "-o", "jsonl", "-n", "100")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 100
    assert [line["at_us"] for line in lines] == sorted(line["at_us"] for line in lines)
    done = await asyncio.to_thread(command, there, "chat", "--speed", "max")
    assert done.stdout.splitlines()[0].endswith(" cam: chat 1")
    assert len(done.stdout.splitlines()) == LINES
    done = await asyncio.to_thread(command, there, "chat", "--save", str(tmp_path / "saved"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "saved" / "cam-chat.txt").read_text().splitlines()[-1] == f"chat {LINES}"
    done = await asyncio.to_thread(command, there, "-o", "json", "--speed", "max", "-q")
    assert json.loads(done.stdout)["objects"] == 82 * LENGTH_S


async def test_a_reader_that_goes_is_no_fault_and_a_full_disk_is_said(there: RunningRoom) -> None:
    line = [sys.executable, "-m", "wtp", *words(there, "-o", "jsonl")]

    def one_line() -> tuple[bytes, bytes, int]:
        with subprocess.Popen(
            line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            first = process.stdout.readline()
            process.stdout.close()
            return first, process.stderr.read(), process.wait(PATIENT_S)

    first, errors, code = await asyncio.to_thread(one_line)
    assert code == 0
    assert json.loads(first)["seq"] == 1
    assert b"rror" not in errors
    full = await asyncio.to_thread(command, there, "video", "--raw", "/dev/full")
    assert full.returncode == 1
    assert "No space left" in full.stderr


async def test_signals_end_it(there: RunningRoom, wtp_process: Processes) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
        process = wtp_process(*words(there))
        await asyncio.to_thread(process.wait_for, "Replaying", PATIENT_S)
        assert await asyncio.to_thread(process.stop, number, PATIENT_S) == code
        assert "delivered" in process.stderr


def local_modes(terminal: int) -> int:
    """Whether the terminal collects lines and echoes."""
    return int(termios.tcgetattr(terminal)[3]) & (termios.ICANON | termios.ECHO)


@pytest.mark.parametrize(
    ("end", "code"), [("q", 0), (signal.SIGINT, 130), (signal.SIGTERM, 0)], ids=str
)
async def test_keys_in_a_terminal_that_is_given_back(
    there: RunningRoom, end: str | signal.Signals, code: int
) -> None:
    """Pause, go on, faster, forward, slower; at the end the terminal is as it was."""

    def drive() -> None:
        child = pexpect.spawn(
            sys.executable, ["-m", "wtp", *words(there)], encoding="utf-8",
            dimensions=(40, 180), timeout=PATIENT_S, cwd=str(ROOT),
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        before = termios.ICANON | termios.ECHO  # as every new terminal has them
        child.expect("q quit")
        assert local_modes(child.child_fd) == 0
        for key, says in ((" ", "paused"), (" ", "playing"), ("+", "2x"), ("-", "1x")):
            child.send(key)
            child.expect(says)
        child.send("\x1b[C")
        child.expect(r"(6[6-9]|[7-9][0-9]|100)%")
        if isinstance(end, str):
            child.send(end)
        elif end is signal.SIGINT:
            child.sendintr()
        else:
            child.kill(end)
        child.expect("delivered")
        child.expect(pexpect.EOF)
        assert local_modes(child.child_fd) == before
        child.close()
        assert child.exitstatus == code

    await asyncio.to_thread(drive)


async def test_into_a_room_that_does_not_exist(there: RunningRoom, tmp_path: Path) -> None:
    strict = tmp_path / "strict.yaml"
    strict.write_text("rooms:\n  create: false\n", encoding="utf-8")
    into = f"{there.name}-copy"
    refused = await asyncio.to_thread(
        command, there, "chat", "--into", into, "--profile", str(strict)
    )
    assert refused.returncode == 1
    assert f"There is no room {into!r}" in refused.stderr
    itself = await asyncio.to_thread(command, there, "--into", there.name)
    assert itself.returncode == 2
    assert "into itself" in itself.stderr
    done = await asyncio.to_thread(command, there, "chat", "--into", into, "--speed", "max")
    assert done.returncode == 0, done.stderr
    assert f"{LINES} delivered" in done.stderr
    copied = await there.client.history(
        there.topic(Kind.CHAT).replace(f"/{there.name}/", f"/{into}/")
    )
    assert [message.payload for message in copied] == [b"chat %d" % n for n in range(1, LINES + 1)]
    assert {message.properties["replayed"] for message in copied} == {"1"}
