"""Who shows figures on this machine, and their figures by HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from wtp.children.exposed import Exposed, lay, list_exposed
from wtp.children.figures import serve_figures, simple_pages
from wtp.errors import UsageError, WtpError

PAGES = simple_pages(lambda: {"n": 1, "path": Path("x")}, lambda: b"up 1\n")


def exposed(pid: int, role: str = "consume", started_us: int = 5) -> Exposed:
    return Exposed(role, pid, "http://127.0.0.1:1", "default", started_us)


def write(home: Path, name: str, values: Any) -> Path:
    path = home / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return path


def test_a_process_is_found_while_it_shows_figures(tmp_path: Path) -> None:
    home = tmp_path / "not" / "there"
    assert list_exposed(home) == []
    with lay(home, exposed(os.getpid())):
        assert list_exposed(home) == [exposed(os.getpid())]
        assert oct((home / "run").stat().st_mode)[-3:] == "700"
    assert list_exposed(home) == []
    assert list((home / "run").iterdir()) == []


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    own = os.getpid()
    dead = write(tmp_path, f"{gone.pid}.json", {"role": "consume"})
    torn = write(tmp_path, f"{gone.pid}.new", '{"ro')
    with lay(tmp_path, exposed(own)):
        assert not dead.exists()
        assert not torn.exists()
        values = json.loads((tmp_path / "run" / f"{own}.json").read_text())
        reused = write(tmp_path, f"{own}.json", {**values, "began": values["began"] + 1})
        assert list_exposed(tmp_path) == []
        assert not reused.exists()


@pytest.mark.parametrize(
    "values",
    [
        "",
        "[]",
        "{",
        {"role": "x"},
        {"url": 3},
        {"url": "file:///etc/passwd"},
        {"pid": True},
        "9" * 9,
    ],
)
def test_a_damaged_file_is_passed_over(tmp_path: Path, values: Any) -> None:
    good = {"role": "r", "pid": os.getpid(), "url": "http://x", "room": "", "started_us": 1}
    if isinstance(values, dict) and len(values) == 1 and "role" not in values:
        values = {**good, **values}
    write(tmp_path, f"{os.getpid()}.json", values)
    write(tmp_path, "notes.json", good)
    write(tmp_path, f"{10**40}.json", good)
    assert list_exposed(tmp_path) == []


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    pids = [os.getpid(), os.getppid()]
    for pid, started_us in zip(pids, (7, 3), strict=True):
        values = {"role": "r", "url": "http://x", "room": "", "pid": pid, "started_us": started_us}
        write(tmp_path, f"{pid}.json", values)
    assert [one.pid for one in list_exposed(tmp_path)] == pids[::-1]


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("a file")
    with caplog.at_level("INFO", "wtp"), lay(tmp_path, exposed(os.getpid())):
        assert "do not find this process" in caplog.text
    assert (tmp_path / "run").read_text() == "a file"


async def test_figures_are_served_to_this_machine() -> None:
    async with (
        serve_figures("127.0.0.1:0", PAGES) as url,
        ClientSession() as session,
    ):
        async with session.get(url + "/stats") as answer:
            assert await answer.json() == {"n": 1, "path": "x"}
        async with session.get(url + "/metrics") as answer:
            assert await answer.read() == b"up 1\n"
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
        async with session.get(url + "/stats", headers={"Host": "evil.example:80"}) as answer:
            assert answer.status == 403


async def test_a_public_or_taken_address_is_refused() -> None:
    with pytest.raises(UsageError, match="public address") as caught:
        async with serve_figures("0.0.0.0:0", PAGES):
            pass
    assert "127.0.0.1" in caught.value.hint
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(WtpError, match="in use") as refused:
            async with serve_figures(listen, PAGES):
                pass
    assert refused.value.code == "bind"
