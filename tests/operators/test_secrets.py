"""A token never shows: not in arguments, logs, snapshots or answers, of parent or child."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stage import Stage, stage_in
from tests.operators.papers import secret_file
from tests.operators.test_processes import command_lines
from tests.processes import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with stage_in(tmp_path) as stage:
        yield stage


def test_no_command_takes_a_token_as_an_argument() -> None:
    for path in (ROOT / "wtp" / "cli").glob("*.py"):
        assert '"broker.token"' not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("by_file", [False, True])
def test_a_router_and_the_broker_it_starts(stage: Stage, by_file: bool) -> None:
    file = secret_file(stage.folder / "token", "hunter2")
    secret = {"WTP_BROKER_TOKEN_FILE": file} if by_file else {"WTP_BROKER_TOKEN": "hunter2"}
    loud = {"WTP_LOG_LEVEL": "debug", "WTP_DEBUG": "1"}
    run = stage.router(env={"WTP_BROKER_START": "1", **secret, **loud})
    talk = stage.command("publish", "--chat", stdin=b"hello\n", env={**secret, **loud})
    assert talk.wait() == 0, talk.report()
    read = stage.command("consume", "chat", "--from", "earliest", "-n", "1", "-o", "jsonl",
                         env={**secret, **loud})  # fmt: skip
    assert read.wait() == 0, read.report()
    lines = command_lines(run.pid)
    assert any("\0broker\0" in line for line in lines)
    shown = [*lines, json.dumps(stage.stats()), talk.report(), read.report()]
    run.finish()
    assert not any("hunter2" in text for text in [*shown, run.report()])
