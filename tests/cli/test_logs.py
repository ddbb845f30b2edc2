"""Logs for machines: every line of stderr is a JSON object, whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from wtp.cli import group
from wtp.cli.logs import JsonLines
from wtp.cli.run import run_role
from wtp.config.schema import LoggingSettings, Settings
from wtp.errors import ConnectionFailed

JSON = Settings(logging=LoggingSettings(format="json"))


class Role:
    """Ready, then what it is told to do."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        ready({"address": "127.0.0.1:1", "path": Path("x")})
        self._act()
        await asyncio.sleep(0)

    def stop(self) -> None:
        raise AssertionError

    def snapshot(self) -> dict[str, Any]:
        return {"n": 1}


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_ready_and_log_lines_are_objects(capsys: pytest.CaptureFixture[str]) -> None:
    def act() -> None:
        logging.getLogger("wtp.role").warning("from a peer: %s\n", "\x1b[2Jx")
        logging.getLogger("wtp.role").debug("too little")
        warnings.warn("old", UserWarning, stacklevel=1)

    def say(_: object) -> str:
        raise AssertionError("no status with json")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run_role(
            Role(act), name="role", settings=JSON, announce=say, line=say, screen=say, summary=say
        )
    ready, peer, old = lines(capsys)
    assert ready["message"] == "ready"
    assert ready["info"] == {"address": "127.0.0.1:1", "path": "x"}
    assert peer["message"] == "from a peer: \x1b[2Jx\n"
    assert (peer["level"], peer["logger"]) == ("warning", "wtp.role")
    assert "UserWarning: old" in old["message"]


def test_an_error_has_code_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    def act() -> None:
        raise ExceptionGroup("several", [ConnectionFailed("Nobody there.", hint="Start one.")])

    with pytest.raises(typer.Exit) as caught:
        run_role(Role(act), settings=JSON, quiet=True)
    assert caught.value.exit_code == 3
    (line,) = lines(capsys)
    assert (line["level"], line["message"]) == ("error", "Nobody there.")
    assert (line["code"], line["hint"]) == ("connect", "Start one.")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_faults_are_lines_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WTP_DEBUG", "1")

    def fail() -> None:
        raise ValueError("in a thread\nof two lines")

    def act() -> None:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        raise KeyError("surprise")

    hook = threading.excepthook
    with pytest.raises(typer.Exit) as caught:
        run_role(Role(act), settings=JSON)
    assert caught.value.exit_code == 1
    assert threading.excepthook is hook
    _, thread, fault = lines(capsys)
    assert thread["error"] == "ValueError: in a thread\nof two lines"
    assert "fail()" in thread["traceback"] or "in fail" in thread["traceback"]
    assert fault["code"] == "fault"
    assert "KeyError" in fault["message"]


def test_json_output_still_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    run_role(Role(lambda: None), settings=JSON, output="json", quiet=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"n": 1}
    assert captured.err == ""


def test_a_record_never_breaks_a_line() -> None:
    written: list[str] = []
    sink = JsonLines(written.append)
    record = logging.LogRecord("n", logging.INFO, "", 0, "a\nb\u2028c", None, None)
    record.__dict__["fields"] = {"raw": b"\xff", "nested": {1: object}}
    sink.emit(record)
    sink.emit(logging.LogRecord("n", logging.INFO, "", 0, "%d arguments", ("no",), None))
    line, odd = written
    assert json.loads(odd)["message"] == "%d arguments"
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == "a\nb\u2028c"


@pytest.mark.parametrize(
    ("args", "env", "wanted"),
    [
        (["--log-format", "json"], "", True),
        (["--log-format=json"], "text", True),
        (["--log-format", "text"], "json", False),
        ([], "json", True),
        ([], "", False),
    ],
)
def test_faults_of_the_command_line_are_in_the_form_that_it_asks_for(
    args: list[str],
    env: str,
    wanted: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WTP_LOG_FORMAT", env)
    try:
        assert group.invoke(["router", "--nonsense", *args]) == 2
        text = capsys.readouterr().err
        group.remark("said beside")
        note = capsys.readouterr().err
    finally:
        group.errors_as_json(wanted=False)
    assert text.startswith("{") is wanted
    assert note == "note: said beside\n" or wanted
    if wanted:
        assert "--nonsense" in json.loads(text)["message"]
        assert json.loads(text)["code"] == "usage"
        assert json.loads(note)["level"] == "info"
