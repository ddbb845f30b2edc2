"""`wtp processor` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Processes
from tests.processor.parcels import parcel
from wtp.cli.group import invoke
from wtp.ui.processor import announce, announce_work, line, summary
from wtp.wire.process import encode_one

pytestmark = pytest.mark.e2e


def post(url: str, text: bytes) -> bytes:
    headers, body = encode_one(parcel(text), "binary")
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def url_of(announced: str) -> str:
    return announced.split()[1]


def user_code(folder: Path, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(text)
    return str(path)


def test_it_serves_reloads_and_ends_cleanly(wtp_process: Processes, tmp_path: Path) -> None:
    code = user_code(tmp_path, "def process(text: str): return text + '!'")
    words = ("processor", "chat", "--code", code, "--listen", "127.0.0.1:0", "--return")
    process = wtp_process(*words, "--reload")
    url = url_of(process.wait_for("processor  http"))
    assert post(url, b"hi") == b"hi!"
    user_code(tmp_path, "def process(text: str): return text + '?'")
    process.wait_for("loaded again")
    assert post(url, b"hi") == b"hi?"
    user_code(tmp_path, "def process(text: str) return")
    process.wait_for("is not used")
    assert post(url, b"hi") == b"hi?"
    assert process.stop() == 130
    assert "objects    3 = 3 delivered + 0 dropped + 0 in flight" in process.stderr


def test_sigterm_ends_with_0_and_says_nothing(wtp_process: Processes, tmp_path: Path) -> None:
    code = user_code(tmp_path, "print('loaded')\ndef process(obj): return obj")
    words = ("processor", "video", "--code", code, "--listen", "127.0.0.1:0", "--return", "-q")
    process = wtp_process(*words)
    process.wait_for("loaded")
    assert process.stop(signal.SIGTERM) == 0
    assert len((process.stdout + process.stderr).splitlines()) == 1


def test_its_code_ends_with_it_even_when_killed(wtp_process: Processes, tmp_path: Path) -> None:
    text = "import os, time\nprint('pid', os.getpid())\ndef process(obj): time.sleep(99)"
    code = user_code(tmp_path, text)
    process = wtp_process(
        "processor", "chat", "--code", code, "--listen", "127.0.0.1:0", "--return"
    )
    pid = int(process.wait_for("pid ").split()[-1])
    os.kill(pid, 0)
    process.popen.kill()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_original_configuration_file(wtp_process: Processes, tmp_path: Path) -> None:
    file = tmp_path / "processor.yaml"
    file.write_text(
        "pulsar:\n  broker_url: pulsar://127.0.0.1:1\n  send_to_pulsar: false\n"
        "logging:\n  level: warning\n"
    )
    process = wtp_process("processor", "chat", "--config", str(file), "--listen", "127.0.0.1:0")
    announced = process.wait_for("profile")
    assert 'services: {chat: {url: "http://127.0.0.1:' in announced
    assert "returned to the router" in process.stderr
    assert post(url_of(process.wait_for("processor  http")), b"hi") == b"hi"


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("video", "--code", "nowhere.py"), 2, "There is no file nowhere.py."),
        (("video", "--code", "math:pi"), 2, "math:pi is not callable."),
        (("chat", "--code", "motion"), 2, "motion is for video and screen, not for chat."),
        (("video", "--listen", "0.0.0.0:0"), 2, "there is no authentication"),
        (("video", "--topic", "x"), 2, "--topic goes with --from-topic."),
        (("video", "--from-topic", "--listen", "127.0.0.1:0"), 2, "--listen is for HTTP"),
        (("video", "--from-topic", "--return"), 2, "--return is for HTTP"),
        (("video", "--code", "wtp_no_such_module:f"), 2, "No module named 'wtp_no_such_module'"),
        (("new", "1.py"), 2, "cannot be imported by Python"),
        (("test", "motion", "nowhere"), 2, "There is no recording nowhere."),
    ],
)
def test_what_cannot_work_is_told(
    words: tuple[str, ...], exit_code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["processor", *words]) == exit_code
    errors = capfd.readouterr().err
    assert said in errors
    assert "hint: " in errors
    assert "Traceback" not in errors


def test_a_port_in_use_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert invoke(["processor", "video", "--listen", address, "--return"]) == 1
    assert f"error: {address} cannot be listened on" in capfd.readouterr().err


def test_new_test_and_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(["processor", "new", "mine.py", "--kind", "chat"]) == 0
    (tmp_path / "lines.jsonl").write_bytes(encode_one(parcel(b" hello "), "json")[1])
    words = ["processor", "test", "mine.py", "lines.jsonl", "--kind", "chat"]
    assert invoke(words) == 2
    assert "no golden file" in capfd.readouterr().err
    assert invoke([*words, "--update"]) == 0
    assert invoke(words) == 0
    user_code(tmp_path, "def process(text: str): return text")
    capfd.readouterr()
    assert invoke([*words, "-o", "json"]) == 1
    assert json.loads(capfd.readouterr().out)["count"] == 1
    words = ["processor", "bench", "mine.py", "--kind", "chat", "--duration", "0.3s", "-o", "json"]
    assert invoke(words) == 0
    assert json.loads(capfd.readouterr().out)["code"]["objects_per_s"] > 1


def test_code_that_hangs_has_no_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wtp.processor.measure.MOST_S", 0.3)
    monkeypatch.chdir(tmp_path)
    user_code(tmp_path, "import time\ndef process(text: str): time.sleep(3600)")
    assert invoke(["processor", "bench", "mine.py", "--kind", "chat"]) == 1
    said = capfd.readouterr().err
    assert "error: mine took longer than 0.3 s for one object." in said
    assert "hint: " in said
    assert "Traceback" not in said


SNAPSHOT: dict[str, Any] = {
    "status": "no-broker", "code": "mine.py", "uptime_s": 3.0, "dead_letters": 1,
    "objects": {"offered": 3, "delivered": 1, "in_flight": 0, "dropped": {"crash": 2}},
    "took": {"p50_ms": 0.5, "p99_ms": 2.0}, "runner": {"restarts": 2}, "refused": {"503": 1},
}  # fmt: skip


def test_what_is_shown() -> None:
    shown = line(SNAPSHOT)
    assert "BROKER DOWN, 3 objects, 0.50 ms p50, 2.00 ms p99" in shown
    assert "dropped 2 (crash 2)" in shown
    ended = summary(SNAPSHOT)
    assert "3 = 1 delivered + 2 dropped + 0 in flight" in ended
    assert "1 letter" in ended
    for show in (line, summary, announce, announce_work):
        assert show({})
