"""Every command of the README, run as it stands there.

The comment before a block says how: `test: setup` (in a fresh clone), `test: ci` (by .ci/run),
`test: background`, `test: for 4 s`, `test: run`, or `hardware: why` (not run). Ports and folders
are moved by environment variables, nothing else is changed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.stage import Stage, stage_in, wait_for

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"

LINE_S = 60.0
SETUP_S = 300.0
KINDS = re.compile(r"test: (setup|ci|background|run|for (?P<seconds>\d+) s)|hardware: \S.*")
RESOLVING = re.compile(r"^<!-- (?P<how>.+?) -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of shell in the README.

    Attributes:
        number: Line on which it begins.
        how: What the comment before it says; empty for none.
        lines: Its commands.
    """

    number: int
    how: str
    lines: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    """Every block of shell, in order."""
    found: list[Block] = []
    how, inside, first = "", False, 0
    held: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if inside and line.strip() == "```":
            found.append(Block(first, how, tuple(held)))
            how, inside, held = "", False, []
        elif inside:
            held += [line] if line.strip() else []
        elif re.match(r"\s*```\s*(sh|bash|shell|console)\b", line):
            inside, first = True, number
        elif line.strip():
            comment = RESOLVING.match(line.strip())
            how = comment["how"] if comment else ""
    assert not inside, f"README.md, line {first}: the block never ends"
    return found


BLOCKS = blocks(README.read_text(encoding="utf-8"))


def of(how: str) -> list[Block]:
    """The blocks whose comment begins so."""
    return [block for block in BLOCKS if block.how.startswith(f"test: {how}")]


def test_the_parser_sees_comment_and_commands() -> None:
    text = "a\n<!-- test: run -->\n```sh\none\n\ntwo\n```\n```sh\nbare\n```\n```text\nno\n```\n"
    assert blocks(text) == [Block(3, "test: run", ("one", "two")), Block(8, "", ("bare",))]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line-{block.number}")
def test_every_block_says_how_it_is_tested(block: Block) -> None:
    assert KINDS.fullmatch(block.how), f"README.md, line {block.number}: {block.how!r}"
    assert block.lines, f"README.md, line {block.number}: an empty block"


def test_the_two_commands_of_a_newcomer_are_one_line_each() -> None:
    setup, ci = of("setup"), of("ci")
    assert [len(block.lines) for block in setup] == [1]
    assert len(ci[0].lines) == 1
    assert "wtp demo" in setup[0].lines[0]
    assert "pytest" in ci[0].lines[0]


@pytest.mark.e2e
@pytest.mark.timeout(SETUP_S + 30)
def test_setup_in_a_fresh_clone(tmp_path: Path) -> None:
    clone, temp = tmp_path / "clone", tmp_path / "tmp"
    temp.mkdir()
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True, timeout=60)
    line = f"{of('setup')[0].lines[0]} --duration 5"
    env = {name: value for name, value in os.environ.items() if not name.startswith("WTP_")}
    env.update(TMPDIR=str(temp), PATH=f"{Path(sys.executable).parent}:{env['PATH']}")
    env["PIP_NO_COMPILE"] = "1"  # compiling what is never imported takes longer than all else
    env.pop("PYTHONPATH", None)
    with (tmp_path / "out").open("w+") as out:
        done = subprocess.run(
            ["sh", "-c", line], cwd=clone, env=env, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, timeout=SETUP_S, check=False,
        )  # fmt: skip
        out.seek(0)
        said = out.read()
    assert done.returncode == 0, said
    assert "ms" in said, said
    assert "Traceback" not in said, said
    assert not list(temp.iterdir()), said


class Shell:
    """Commands of the README in one folder, against one stage."""

    def __init__(self, stage: Stage) -> None:
        self.folder = stage.folder / "reader"
        self.folder.mkdir()
        self.background: list[tuple[str, subprocess.Popen[bytes], Path]] = []
        self._count = 0
        self._env = {
            **os.environ,
            **stage.env,
            **stage.mark,
            "WTP_BROKER_START": "",
            "WTP_PROCESSOR_LISTEN": "127.0.0.1:0",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def start(self, line: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a line as a terminal would."""
        self._count += 1
        out = self.folder.parent / f"readme-{self._count}.out"
        with out.open("wb") as file:
            popen = subprocess.Popen(
                ["sh", "-c", line], cwd=self.folder, env=self._env, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return popen, out

    def keep(self, line: str) -> None:
        """Leave a line running, once it has said that it works."""
        popen, out = self.start(f"exec {line}")
        self.background.append((line, popen, out))
        wait_for(lambda: _settled(out) or popen.poll() is not None, line, 60.0)
        assert popen.poll() is None, f"$ {line}\n{out.read_text()}"

    def run(self, line: str) -> None:
        """Run a line to its end."""
        popen, out = self.start(line)
        try:
            code = popen.wait(LINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
            pytest.fail(f"$ {line}\nstill runs after {LINE_S} s\n{out.read_text()}")
        assert code == 0, f"$ {line}\nexit {code}\n{out.read_text()}"
        assert "Traceback" not in out.read_text(), out.read_text()

    def run_for(self, line: str, seconds: float) -> None:
        """Run a line for a while from its first word on, then press Ctrl-C."""
        popen, out = self.start(f"exec {line}")
        try:
            wait_for(lambda: out.stat().st_size or popen.poll() is not None, line, LINE_S)
            time.sleep(seconds)
        finally:
            code = self.interrupt(popen)
        assert code in (0, 130), f"$ {line}\nexit {code}\n{out.read_text()}"
        assert "Traceback" not in out.read_text(), out.read_text()

    def interrupt(self, popen: subprocess.Popen[bytes]) -> int:
        """Press Ctrl-C; returns the exit code."""
        if popen.poll() is None:
            os.killpg(popen.pid, signal.SIGINT)
        try:
            return popen.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(popen.pid, signal.SIGKILL)
            return popen.wait()

    def end(self) -> None:
        """Press Ctrl-C in every terminal that still runs something."""
        ends = [(line, self.interrupt(popen), out) for line, popen, out in self.background[::-1]]
        for line, code, out in ends:
            assert code in (0, 130), f"$ {line}\nexit {code}\n{out.read_text()}"
            assert "Traceback" not in out.read_text(), out.read_text()


def _settled(out: Path) -> bool:
    """Whether something was said, and nothing more for a second."""
    return out.stat().st_size > 0 and time.time() - out.stat().st_mtime > 1.0  # noqa: TID251 - compared with a file's time


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_commands_by_hand(tmp_path: Path) -> None:
    with stage_in(tmp_path) as stage:
        shell = Shell(stage)
        try:
            follow(shell)
        finally:
            shell.end()


def follow(shell: Shell) -> None:
    """Do what the README says, in its order."""
    for block in BLOCKS:
        how = KINDS.fullmatch(block.how)
        for line in block.lines:
            if block.how == "test: background":
                shell.keep(line)
            elif block.how == "test: run":
                shell.run(line)
            elif how is not None and how["seconds"]:
                shell.run_for(line, float(how["seconds"]))
