"""Running a role: signals, exit codes, plain lines, a live terminal, events of a child."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pexpect
import pytest

ROOT = Path(__file__).resolve().parents[2]

ROLE = """
import asyncio, gc, json, logging, sys
import typer
from wtp.cli import group, main, COMMANDS
from wtp.cli.run import run_role
from wtp.errors import ConnectionFailed

class Role:
    def __init__(self, mode):
        self.mode, self.ended, self.count = mode, asyncio.Event(), 0
    async def run(self, ready):
        if self.mode == "fail":
            raise ConnectionFailed("No router answers.", hint="Start one with `wtp router`.")
        if self.mode == "fault":
            raise ValueError("surprise")
        if self.mode == "group":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.fail())
        ready({"address": "127.0.0.1:1"})
        self.spared = gc.get_freeze_count() > 10_000
        logging.getLogger("quic").warning("their own line")
        logging.getLogger("wtp.role").warning("from a peer: %s", "\\x1b[2Jx")
        if self.mode in ("short", "wide", "spared"):
            return
        if self.mode == "pipe":
            raise BrokenPipeError
        while not self.ended.is_set():
            self.count += 1
            try:
                async with asyncio.timeout(0.05):
                    await self.ended.wait()
            except TimeoutError:
                pass
        if self.mode == "stuck":
            try:
                await asyncio.sleep(60)
            finally:
                print("cleaned up", file=sys.stderr)
    async def fail(self):
        raise ConnectionFailed("Deep inside.")
    def stop(self):
        self.ended.set()
    def snapshot(self):
        return {"mode": self.mode, "positive": self.count > 0}
    def __del__(self):
        if self.mode == "spared":
            print(self.spared, gc.get_freeze_count())

def wide(snapshot):
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text
    table = Table("name", "figure", box=None, pad_edge=False)
    table.add_row("n" * 60, "f" * 60)
    return Group(Text("a sentence of many words " * 8 + "ends"), table)

app = typer.Typer()

@app.command()
def role(mode: str, child: bool = False, quiet: bool = False, output: str = "table") -> None:
    run_role(Role(mode), child=child, quiet=quiet, output=output,
             announce=lambda info: f"at {info['address']}",
             line=lambda s: f"status [bold]{s['mode']}[/bold]",
             summary=wide if mode == "wide" else lambda s: f"summary {s['mode']}")

sys.modules["fake_role"] = sys.modules["__main__"]
COMMANDS["role"] = ("fake_role", "A role.")
main(sys.argv[1:])
"""


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("role") / "role.py"
    path.write_text(textwrap.dedent(ROLE), encoding="utf-8")
    return path


@pytest.fixture
def env() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WTP_")}
    return {**clean, "PYTHONPATH": str(ROOT)}


def run(script: Path, env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), "role", *args],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_role_that_ends_by_itself(script: Path, env: dict[str, str]) -> None:
    done = run(script, env, "short")
    assert done.returncode == 0
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "at 127.0.0.1:1"
    assert lines[1].endswith("warning from a peer: ?[2Jx")
    assert lines[2] == "summary short"


def test_the_collector_is_spared_what_is_loaded_while_a_role_runs(
    script: Path, env: dict[str, str]
) -> None:
    assert run(script, env, "spared").stdout.split() == ["True", "0"]


def test_off_a_terminal_neither_sentences_nor_tables_are_broken(
    script: Path, env: dict[str, str]
) -> None:
    done = run(script, {**env, "COLUMNS": "40"}, "wide")
    sentence, _, row = done.stderr.splitlines()[-3:]
    assert sentence == "a sentence of many words " * 8 + "ends"
    assert row.split() == ["n" * 60, "f" * 60]
    assert len(row) < 130


def test_quiet_says_nothing_but_warnings(script: Path, env: dict[str, str]) -> None:
    lines = run(script, env, "short", "--quiet").stderr.splitlines()
    assert len(lines) == 1
    assert "from a peer" in lines[0]


def test_json_at_the_end_goes_to_stdout(script: Path, env: dict[str, str]) -> None:
    done = run(script, env, "short", "--output", "json")
    assert json.loads(done.stdout) == {"mode": "short", "positive": False}
    assert "summary" not in done.stderr


@pytest.mark.parametrize(
    ("mode", "code", "first"),
    [
        ("fail", 3, "error: No router answers."),
        ("group", 3, "error: Deep inside."),
        ("fault", 1, "error: Unexpected ValueError: surprise"),
    ],
)
def test_errors(script: Path, env: dict[str, str], mode: str, code: int, first: str) -> None:
    done = run(script, env, mode)
    assert done.returncode == code
    assert done.stderr.splitlines()[0] == first
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_is_no_error(script: Path, env: dict[str, str]) -> None:
    done = run(script, env, "pipe")
    assert done.returncode == 0
    assert "error" not in done.stderr


def start(script: Path, env: dict[str, str], *args: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(script), "role", *args],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    return process


def stderr_until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    pytest.fail(f"{word} never came")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)]
)
def test_signals(script: Path, env: dict[str, str], number: int, code: int) -> None:
    with start(script, env, "long") as process:
        stderr_until(process, "at 127.0.0.1:1")
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "summary long" in err


def test_a_second_interrupt_cancels(script: Path, env: dict[str, str]) -> None:
    with start(script, env, "stuck") as process:
        stderr_until(process, "at 127.0.0.1:1")
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.4)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cleaned up" in err


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_child_speaks_events_and_ends_with_its_stdin(script: Path, env: dict[str, str]) -> None:
    with start(script, env, "long", "--child") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first == {"event": "ready", "pid": process.pid, "address": "127.0.0.1:1"}
        second = json.loads(process.stdout.readline())
        assert second == {"event": "status", "mode": "long", "positive": True}
        out, err = process.communicate(timeout=60)
    assert events(out)[-1]["event"] == "summary"
    assert process.returncode == 0
    assert "summary" not in err


@pytest.mark.parametrize(("mode", "code"), [("fail", 3), ("group", 3), ("fault", 1)])
def test_a_child_sends_its_error(script: Path, env: dict[str, str], mode: str, code: int) -> None:
    with start(script, env, mode, "--child") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    last = events(out)[-1]
    assert last["event"] == "error"
    assert last["exit_code"] == code
    assert "Traceback" not in err


def test_a_child_outlives_a_parent_that_does_not_read(script: Path, env: dict[str, str]) -> None:
    with start(script, env, "long", "--child") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def test_live_status_on_a_terminal(script: Path, env: dict[str, str]) -> None:
    terminal = pexpect.spawn(
        sys.executable,
        [str(script), "role", "long"],
        env={**env, "TERM": "xterm"},
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=60,
    )
    terminal.expect("at 127.0.0.1:1")
    terminal.expect(r"status \[bold\]long\[/bold\]")
    terminal.expect(r"\x1b\[2K")
    terminal.sendintr()
    terminal.expect("summary long")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_errors_without_color(script: Path, env: dict[str, str], more: dict[str, str]) -> None:
    output = pexpect.run(
        f"{sys.executable} {script} role fail", env={**env, "TERM": "xterm", **more}
    )
    assert isinstance(output, bytes)
    assert (b"\x1b[31m" in output) is False


def test_errors_are_red_on_a_terminal(script: Path, env: dict[str, str]) -> None:
    output = pexpect.run(f"{sys.executable} {script} role fail", env={**env, "TERM": "xterm"})
    assert isinstance(output, bytes)
    assert b"\x1b[31merror:" in output
