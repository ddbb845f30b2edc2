"""`wtp chat` as processes: through pipes and at terminals, with a router and a broker."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.e2e.stage import Stage, stage_in
from wtp.cli.group import invoke

pytestmark = pytest.mark.e2e

TIMEOUT_S = 30


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One broker and one router for all."""
    with stage_in(tmp_path_factory.mktemp("chat")) as stage:
        stage.broker()
        stage.router()
        yield stage


@pytest.fixture
def at_terminal(stage: Stage) -> Iterator[Callable[..., pexpect.spawn[str]]]:
    """Starts somebody at a terminal."""
    person = {"LOGNAME": "ann", "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    people: list[pexpect.spawn[str]] = []

    def start(*words: str) -> pexpect.spawn[str]:
        people.append(
            pexpect.spawn(
                sys.executable,
                ["-m", "wtp", "chat", *words],
                env={**os.environ, **stage.env, **stage.mark, **person},
                cwd=str(stage.folder),
                encoding="utf-8",
                timeout=TIMEOUT_S,
                dimensions=(24, 100),
            )
        )
        return people[-1]

    yield start
    for one in people:
        one.close(force=True)


def test_lines_through_pipes(stage: Stage) -> None:
    tail = stage.command("chat", "pipes", "--follow", "--name", "tail", stdin=b"")
    tail.wait_for("Chatting as tail")
    lines = b"hello\n/usr/bin is text\n\xff\n" + b"x" * 20_000 + b"\n\nlast"
    said = stage.command("chat", "pipes", "--name", "ann", stdin=lines)
    assert said.wait(TIMEOUT_S) == 0, said.report()
    shown = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in said.stdout.splitlines()]
    assert shown == ["ann: hello", "ann: /usr/bin is text", "ann: last"]
    assert "Line 3 is not UTF-8 text and was left out." in said.stderr
    assert "Line 4 is too long and was left out." in said.stderr
    assert "3 lines sent, 3 receipted, 3 messages read." in said.stderr

    read = stage.command("chat", "pipes", "--history", "2", "-o", "jsonl", "-q", stdin=b"")
    assert read.wait(TIMEOUT_S) == 0, read.report()
    messages = [json.loads(line) for line in read.stdout.splitlines()]
    assert [(one["attributes"]["author"], one["text"]) for one in messages] == [
        ("ann", "/usr/bin is text"), ("ann", "last"),
    ]  # fmt: skip
    assert read.stderr == ""

    consumed = stage.command("consume", "chat", "--room", "pipes", "--history", "1", "-n", "1")
    assert consumed.wait(TIMEOUT_S) == 0, consumed.report()
    assert re.fullmatch(r"\d\d:\d\d:\d\d ann: last\n", consumed.stdout)
    tail.wait_for("ann: last")
    assert tail.stop() == 130
    assert tail.stdout == said.stdout


def test_two_people_of_one_name_at_terminals(
    stage: Stage, at_terminal: Callable[..., pexpect.spawn[str]]
) -> None:
    ann = at_terminal("talk")
    ann.expect("You are ann\\.")
    ann.send("first\r")
    ann.expect("ann: first  \u2713")
    bob = at_terminal("talk")
    bob.expect("ann: first\r\n")
    bob.expect("You are ann-2\\.")
    ann.send("half a line")
    ann.expect("> half a line")
    bob.send("\x1b[200~one\ntwo\x1b[201~\r")
    bob.expect("ann-2: one\r\n    two  \u2713")
    ann.expect("ann-2: one\r\n    two\r\n.*> half a line")
    ann.send("\r/quit\r")
    ann.expect("ann: half a line  \u2713")
    ann.expect(pexpect.EOF)
    bob.expect("ann: half a line\r\n")
    bob.sendintr()
    bob.expect(pexpect.EOF)
    for one in (ann, bob):
        one.close()
        assert "\x1b[?2004l" in (one.before or "")
    assert (ann.exitstatus, bob.exitstatus) == (0, 130)
    said = [one.payload.decode() for one in stage.read("chat", "talk", expect=3)]
    assert said == ["first", "one\ntwo", "half a line"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a b"], "room name 'a b' is not allowed"),
        (["ops", "--room", "dev"], "Two rooms are named: ops and dev"),
        (["--name", "a/b"], "publisher name 'a/b' is not allowed"),
        (["--history", "-1"], "--history"),
        (["-o", "csv"], "csv"),
        (["video"], "like a kind"),
    ],
)
def test_what_makes_no_sense_is_said(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], clean_home: Path
) -> None:
    assert invoke(["chat", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_closed_standard_input_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clean_home: Path
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert invoke(["chat"]) == 2
    assert "Standard input is closed." in capsys.readouterr().err
