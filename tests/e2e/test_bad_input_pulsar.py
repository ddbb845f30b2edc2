"""What users of topics, replay and processors mistype, as they see it: whole commands, no broker.

What a broker must answer to be told is tested beside its code: tests/operators (brokers that are
none, tokens, TLS), tests/replayer, tests/services, tests/processor, tests/cli/test_topics_verbs.
"""

from __future__ import annotations

import errno
import os

import pytest

from tests.e2e.stage import Stage
from tests.e2e.test_bad_input import Case, check_error
from tests.processes import Process
from wtp.cli.group import report

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NOBODY = ["--broker", "pulsar://127.0.0.1:1", "--admin", "http://127.0.0.1:1"]


def check_all(stage: Stage, cases: list[Case]) -> None:
    """Start all commands, then look at what each said."""
    runs: list[tuple[Process, Case]] = [(stage.command(*case[0]), case) for case in cases]
    for run, (_, code, words) in runs:
        check_error(run, code, *words)


def test_names_are_looked_at_before_the_broker(stage: Stage) -> None:
    check_all(
        stage,
        [
            (["consume", "video", "--room", "../x", *NOBODY], 2, ("room name '../x'",)),
            (["replay", "video", "--room", "../x", "--from", "-1m", *NOBODY], 2, ("'../x'",)),
            (["replay", "--topic", "a b/c", "--from", "-1m", *NOBODY], 2, ("no", "topic name")),
            (["topics", "retention", "video", "--set", "5", *NOBODY[2:]], 2, ("has no unit",)),
        ],
    )


def test_code_that_is_not_there_says_where_it_is_looked_for(stage: Stage) -> None:
    broken = stage.folder / "broken.py"
    broken.write_text("import wtp_no_such_module\n")
    check_all(
        stage,
        [
            (["processor", "chat", "--code", "wtp_none:f", "--return"], 2, ("PYTHONPATH",)),
            (
                ["processor", "chat", "--code", str(broken), "--return"],
                2,
                ("broken.py:1 in <module>", "Mend it"),
            ),
        ],
    )


def test_a_full_disk_is_no_fault_of_wtp(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == 1
    said = capsys.readouterr().err
    assert "error: No space left on device." in said
    assert "hint: Free some space" in said
