"""`wtp doctor` as users meet it: exit codes, formats, time limits, and nothing that leaks."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.doctor.subjects import free_port, only, states, subject
from wtp.cli.group import invoke
from wtp.config.schema import BrokerSettings, RouterSettings, Settings
from wtp.doctor import run
from wtp.doctor.finding import Finding, State, Subject, worst
from wtp.errors import UsageError
from wtp.ui.doctor import doctor_page

QUICK = ("python", "udp", "certificate", "ports", "disk", "processes", "terminal")
KEYS = {"check", "state", "found", "why", "mend"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTP_HOME", str(tmp_path / "home"))
    for name in ("WTP_ROUTER", "WTP_BROKER", "WTP_ADMIN", "WTP_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = invoke(["doctor", *words, "-o", "json"])
    out, err = capsys.readouterr()
    assert err == ""
    return code, json.loads(out)


def test_json_is_a_list_of_findings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, rows = doctor(capsys, *QUICK, "--certs", str(tmp_path))
    assert code == 0
    assert all(set(row) == KEYS for row in rows)
    assert all(row["found"] and row["why"].endswith(".") for row in rows)
    assert {row["state"] for row in rows} <= set(State)
    checks = [row["check"] for row in rows]
    assert len(checks) == len(set(checks))
    assert checks.index("python") < checks.index("certificate") < checks.index("terminal")


def test_a_named_router_or_broker_that_is_away_is_a_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    code, rows = doctor(capsys, "router", "--router", f"https://127.0.0.1:{port}/wt")
    assert (code, rows[0]["state"]) == (1, "fault")
    monkeypatch.setenv("WTP_BROKER", f"pulsar://127.0.0.1:{port}")
    code, rows = doctor(capsys, "broker")
    assert (code, rows[0]["state"]) == (1, "fault")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nonsense"], 2, "There is no check 'nonsense'."),
        (["router", "--router", "ftp://x"], 1, ""),
        (["router", "--cert-hash", "12"], 2, "64 hexadecimal digits"),
        (["router", "--cert-hash", "0" * 64, "--insecure"], 2, "exclude each other"),
        (["broker", "--broker", "pulsar://u:secret@h"], 1, ""),
        (["broker", "--room", "a/b"], 2, "room"),
    ],
)
def test_bad_input(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["doctor", *words]) == code
    out, err = capsys.readouterr()
    assert said in err
    assert "Traceback" not in out + err
    assert "secret" not in out + err


async def test_a_check_that_fails_or_hangs_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: Subject) -> list[Finding]:
        raise ZeroDivisionError("by nothing")

    async def hangs(_: Subject) -> list[Finding]:
        await asyncio.to_thread(time.sleep, 3600)
        return []

    async def works(_: Subject) -> list[Finding]:
        return [Finding("disk", State.OK, "room", "Why.")]

    monkeypatch.setattr("wtp.doctor.python.look", fails)
    monkeypatch.setattr("wtp.doctor.udp.look", hangs)
    monkeypatch.setattr("wtp.doctor.disk.look", works)
    monkeypatch.setattr(run, "CHECKS", {**run.CHECKS, "clock": "wtp.doctor.no_such_module"})
    found = await run.diagnose(subject(tmp_path), ["python", "udp", "disk", "clock"], 1.0)
    assert states(found) == {
        "python": State.UNKNOWN, "udp": State.UNKNOWN, "disk": State.OK, "clock": State.UNKNOWN,
    }  # fmt: skip
    assert "ZeroDivisionError: by nothing" in only(found, "python").found
    assert only(found, "udp").found == "no result within 1 s"


def test_nothing_is_started_changed_or_told(tmp_path: Path) -> None:
    """Router and broker that swallow everything: all checks end, and the token stays unsaid."""
    secret = "s3cr3t.s3cr3t.s3cr3t"
    with socket.socket() as deaf, socket.socket(type=socket.SOCK_DGRAM) as mute:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1]
        try:
            mute.bind(("127.0.0.1", port))
        except OSError:
            pytest.skip("root took the port's UDP side meanwhile")
        settings = Settings(
            router=RouterSettings(url=f"https://127.0.0.1:{port}/wt?token={secret}"),
            broker=BrokerSettings(
                url=f"pulsar://127.0.0.1:{port}", admin=f"http://127.0.0.1:{port}", token=secret
            ),
        )
        looked_at = subject(tmp_path, settings=settings, router_named=True, broker_named=True)
        names = [name for name in run.CHECKS if name not in run.PATIENT]
        found = asyncio.run(run.diagnose(looked_at, names, 60.0))
    assert only(found, "router").state is State.FAULT
    assert only(found, "broker").state is State.FAULT
    assert "s3cr3t" not in repr(found)
    assert list(tmp_path.iterdir()) == []


def test_the_whole_command_needs_neither_opencv_nor_a_terminal(tmp_path: Path) -> None:
    """As a process, with libraries hidden: exit code 0 or 1, a table, no traceback."""
    hidden = tmp_path / "hidden"
    for name in ("cv2", "sounddevice", "plotly"):
        (hidden / name).mkdir(parents=True)
        (hidden / name / "__init__.py").write_text("raise ImportError('hidden by a test')\n")
    done = subprocess.run(
        [sys.executable, "-m", "wtp", "doctor", "packages", "opencv", "sound", "-o", "json"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(hidden), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert rows["opencv"]["state"] in ("warning", "unknown")
    assert rows["portaudio"]["state"] in ("warning", "unknown")
    if rows["opencv"]["state"] == "warning":
        assert "hidden by a test" in rows["opencv"]["found"]
        assert "opencv-python" in rows["opencv"]["mend"]


def page(rows: list[dict[str, str]], width: int, whys: bool = False) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(doctor_page(rows, whys=whys))
    return captured.get()


def row(check: str, state: str, **rest: str) -> dict[str, str]:
    return {"check": check, "state": state, "found": "seen", "why": "Because.", "mend": "", **rest}


def test_the_table_says_why_and_what_mends_at_80_columns() -> None:
    line = f"--cert-hash {'ab' * 32}"
    rows = [
        row("python", "ok"),
        row("router", "fault", mend=line, found="x\x1b[2J"),
        row("clock", "unknown", mend="wtp router"),
    ]
    shown = page(rows, 80)
    assert max(map(len, shown.splitlines())) <= 80
    assert f"-> {line}\n" in shown
    assert shown.count("Because.") == 1
    assert page(rows, 80, whys=True).count("Because.") == 3
    assert "x?[2J" in shown
    assert shown.rstrip().endswith("3 findings: 1 ok, 1 unknown, 1 fault")
    assert page(rows, 20)
    assert page([], 80).strip() == "nothing was looked at"


def test_checks_are_chosen_in_their_order() -> None:
    assert run.choose(["clock", "python"]) == ["python", "clock"]
    assert run.choose([]) == list(run.CHECKS)
    with pytest.raises(UsageError, match="no check"):
        run.choose(["x"])
    assert worst([]) is State.OK
    assert worst([State.WARNING, State.FAULT, State.OK]) is State.FAULT
