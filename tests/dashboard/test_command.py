"""`wtp dashboard` as a process: watching what runs, in lines, in JSON, on a terminal."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.e2e.stage import Stage, free_ports, stage_in, wait_for
from wtp.cli.group import invoke

WAIT_S = 60.0
TRACK = "default/ann/data"

Values = dict[str, Any]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with stage_in(tmp_path) as one:
        yield one


def objects(text: str) -> list[Values]:
    """The whole lines of JSON so far."""
    return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_a_router_that_dies_and_returns(stage: Stage) -> None:
    """Its figures are unknown while it is away and come back by themselves."""
    stage.broker()
    router = stage.router()
    talk, lines = stage.typed("publish", "--data", "-", "--lines", "--name", "ann", "--wait")
    lines.begin(per_second=20)
    reader = stage.child("consume", "data", "--wait", "--metrics", "127.0.0.1:0")
    watch = stage.command("dashboard", "-o", "jsonl")

    def until(wanted: Callable[[Values], Any], what: str) -> Values:
        seen = len(objects(watch.stdout))
        found: Values = wait_for(
            lambda: next((one for one in objects(watch.stdout)[seen:] if wanted(one)), None),
            lambda: f"{what}\n{watch.stdout[-3000:]}\n{watch.stderr}",
            WAIT_S,
        )
        return found

    def flows(one: Values) -> Any:
        return (one["tracks"].get(TRACK) or {}).get("objects_s")

    assert until(flows, "the track")["whole"]["sessions"] == 1
    stage.kill_hard(router)
    now = until(lambda one: one["routers"][0]["state"] == "gone", "that the router is gone")
    assert now["routers"][0]["problem"]
    known = {name for name, value in now["whole"].items() if value is not None}
    assert known <= {"p50_ms", "p99_ms"}  # a consumer may still have what came last
    assert now["tracks"][TRACK]["objects_s"] is None
    stage.router()
    now = until(lambda one: flows(one) and one["tracks"][TRACK]["latency"], "that figures are back")
    assert now["tracks"][TRACK]["latency"]["pid"] == reader.pid
    assert now["tracks"][TRACK]["hops"]
    assert [(one["role"], one["pid"]) for one in now["processes"]] == [("consume", reader.pid)]
    now = until(lambda one: one["brokers"][0]["by_topic"], "the broker's topics")
    assert now["brokers"][0]["healthy"]
    assert "persistent://public/default/data" in now["brokers"][0]["by_topic"]
    watch.stop(signal.SIGTERM, WAIT_S)
    assert watch.popen.returncode == 0, watch.report()
    lines.end()
    talk.wait(WAIT_S)


@pytest.mark.e2e
def test_keys_and_sizes_on_a_terminal(stage: Stage) -> None:
    """Without any router: that is said, 20 columns are enough to say so, and q ends it."""
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "wtp", "dashboard", "--no-topics"],
        env={
            **os.environ,
            **stage.env,
            **stage.mark,
            "TERM": "xterm-256color",
            "NO_COLOR": "1",
            "COLUMNS": "80",
            "LINES": "24",
        },
        dimensions=(24, 80),
        timeout=WAIT_S,
        cwd=str(stage.folder),
        encoding="utf-8",
    )
    with terminal:
        terminal.expect("wtp dashboard")
        terminal.expect("GONE since")
        terminal.setwinsize(10, 20)
        terminal.expect("too narrow")
        terminal.setwinsize(24, 80)
        terminal.expect("traffic")
        terminal.send("?")
        terminal.expect("sort by the next column")
        terminal.send("q")
        terminal.expect(pexpect.EOF)
        terminal.close()
    assert terminal.exitstatus == 0


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--router", "ftp://x", "--once"], 2, "no router URL"),
        (["--interval", "100ms"], 2, "1s or longer"),
        (["--cert-hash", "12", "--once"], 2, "64 hexadecimal digits"),
        (["--insecure", "--ca", "x.pem", "--once"], 2, "exclude each other"),
        (["--admin", "ftp://x", "--once"], 2, "No admin URL"),
        (["-o", "csv"], 2, "csv"),
        (["--once", "--no-topics"], 3, "No router answers"),
        (["-o", "json", "--no-topics"], 3, "No router answers"),
    ],
)
def test_bad_input_says_what_to_do(
    args: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    [port] = free_ports(1)
    monkeypatch.setenv("WTP_HOME", str(tmp_path))
    monkeypatch.setenv("WTP_ROUTER", f"https://127.0.0.1:{port}/wt")
    assert invoke(["dashboard", *args]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err
    assert "hint:" in shown.err


def test_help_loads_no_textual(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("textual", "aiohttp")]:
        monkeypatch.delitem(sys.modules, name)
    assert invoke(["dashboard", "--help"]) == 0
    assert "textual" not in sys.modules
    assert "aiohttp" not in sys.modules
