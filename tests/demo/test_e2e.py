"""The whole demo with its real processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import MARK, Processes
from wtp.children import Child

pytestmark = pytest.mark.e2e

NAMES = ("broker", "router", "publisher", "consumer", "processor")


def check(summary: dict[str, Any]) -> None:
    """A demo that ran well."""
    assert summary["latency"]["n"] > 30
    assert summary["latency"]["p50_ms"] > 0
    assert summary["latency"]["clock_error_ms"] == 0
    assert set(summary["hops"]) >= {"capture->encode", "publish->receive"}
    assert set(summary["ledgers"]) - {"processor"} == {"publisher", "router", "consumer"}
    assert all(ledger["balanced"] for ledger in summary["ledgers"].values())
    assert {process["state"] for process in summary["processes"].values()} == {"stopped"}
    assert summary["video"]["size"] == "640x480"


def test_five_seconds_of_demo(wtp_process: Processes) -> None:
    demo = wtp_process("demo", "--duration", "5", "-o", "json")
    assert demo.wait(60) == 0, demo.report()
    check(json.loads(demo.stdout))
    assert "export WTP_ROUTER=https://127.0.0.1:" in demo.stderr
    assert " fps, " in demo.stderr
    assert not wtp_process.alive()
    assert not list(wtp_process.temp.iterdir())


def test_without_opencv_and_sound(wtp_process: Processes, tmp_path: Path) -> None:
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (stubs / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open')", encoding="utf-8")
    (stubs / "sounddevice.py").write_text("raise OSError('PortAudio not found')", encoding="utf-8")
    hidden = {"PYTHONPATH": os.pathsep.join([str(stubs), os.environ.get("PYTHONPATH", "")])}
    demo = wtp_process("demo", "--duration", "5", "-o", "json", env=hidden)
    assert demo.wait(60) == 0, demo.report()
    check(json.loads(demo.stdout))


def test_other_ports_when_the_usual_ones_are_taken(wtp_process: Processes) -> None:
    blockers = []
    for port, kind in ((4433, socket.SOCK_DGRAM), (6650, socket.SOCK_STREAM)):
        blocker = socket.socket(socket.AF_INET, kind)
        blockers.append(blocker)
        try:
            blocker.bind(("127.0.0.1", port))
            if kind is socket.SOCK_STREAM:
                blocker.listen()
        except OSError:
            continue  # somebody else holds it, which serves as well
    try:
        demo = wtp_process("demo", "--duration", "2", "-o", "json")
        assert demo.wait(60) == 0, demo.report()
    finally:
        for blocker in blockers:
            blocker.close()
    summary = json.loads(demo.stdout)
    assert ":4433/" not in summary["connect"]["WTP_ROUTER"]
    assert not summary["connect"]["WTP_BROKER"].endswith(":6650")
    assert summary["latency"]["n"] > 0
    assert "Port 4433 is taken" in demo.stderr


def test_ctrl_c_ends_it_cleanly(wtp_process: Processes) -> None:
    demo = wtp_process("demo")
    demo.wait_for("Everything runs", 60.0)
    assert demo.stop() == 130, demo.report()
    assert "Every process has ended" in demo.stderr
    assert not wtp_process.alive()
    assert not list(wtp_process.temp.iterdir())


def test_ctrl_c_while_it_starts(wtp_process: Processes) -> None:
    demo = wtp_process("demo")
    end = time.monotonic() + 20
    while len(wtp_process.alive()) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    assert demo.stop() == 130, demo.report()
    assert "Traceback" not in demo.stderr
    assert not wtp_process.alive()
    assert not list(wtp_process.temp.iterdir())


def test_a_killed_demo_leaves_nothing(wtp_process: Processes) -> None:
    demo = wtp_process("demo")
    demo.wait_for("Everything runs", 60.0)
    assert len(wtp_process.alive()) >= 5
    wtp_process.kill(demo.pid)
    end = time.monotonic() + 10
    while (wtp_process.alive() or list(wtp_process.temp.iterdir())) and time.monotonic() < end:
        time.sleep(0.05)
    assert not wtp_process.alive()
    assert not list(wtp_process.temp.iterdir())


def test_the_processor_tells_of_movements(wtp_process: Processes, tmp_path: Path) -> None:
    demo = wtp_process("demo")
    demo.wait_for("Everything runs", 60)
    addresses = dict(re.findall(r"\b(WTP_[A-Z]+)=(\S+)", demo.stderr))
    reading = wtp_process(
        "consume", "data", "--wait", "--from", "earliest", "-n", "1",
        "--save", str(tmp_path / "data"), env=addresses,
    )  # fmt: skip
    assert reading.wait(60) == 0, f"{reading.report()}\n{demo.report()}"
    event = json.loads((tmp_path / "data" / "demo-video-motion.bin").read_bytes())
    assert event["event"] == "start"
    assert event["capture_us"] > 0
    demo.stop()


def test_without_a_processor(wtp_process: Processes) -> None:
    demo = wtp_process("demo", "--no-processor", "--duration", "2", "-o", "json")
    assert demo.wait(60) == 0, demo.report()
    summary = json.loads(demo.stdout)
    check(summary)
    assert "processor" not in summary["processes"]


def test_keep_leaves_a_whole_folder(wtp_process: Processes) -> None:
    demo = wtp_process("demo", "--duration", "1", "--keep", "-o", "json")
    assert demo.wait(60) == 0, demo.report()
    folder = Path(json.loads(demo.stdout)["folder"])
    assert (folder / "broker").is_dir()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def test_a_source_that_is_missing(wtp_process: Processes, tmp_path: Path) -> None:
    demo = wtp_process("demo", "--source", str(tmp_path / "nothing.mp4"))
    assert demo.wait(60) == 1
    assert demo.stderr.count("error: ") == 1, demo.report()
    assert "nothing.mp4" in demo.stderr
    assert not list(wtp_process.temp.iterdir())


@pytest.fixture
async def demo(clean_home: Path, tmp_path: Path) -> AsyncIterator[Child]:
    """A demo as a child, so that its live figures can be read."""
    temp = tmp_path / "temp"
    temp.mkdir()
    async with Child(["demo"], env={"TMPDIR": str(temp), MARK: "demo"}) as child:
        await child.ready
        yield child
        await child.stop(timeout=30)
    assert child.returncode == 0, child.stderr_tail
    left = [path.name for path in temp.iterdir()]
    assert not left


@asynccontextmanager
async def patience(what: str, child: Child, seconds: float = 60.0) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        pytest.fail(f"{what}: {json.dumps(child.last, indent=1)}\n{child.stderr_tail}")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.05)


@pytest.mark.chaos
async def test_each_process_in_turn_recovers(demo: Child) -> None:
    def count() -> int:
        latency = demo.last.get("latency") or {}
        return int(latency.get("n") or 0)

    def states() -> set[str]:
        return {process["state"] for process in demo.last["processes"].values()}

    def restarted(name: str) -> Callable[[], bool]:
        return lambda: bool(demo.last["processes"][name]["restarts"] == 1)

    def flowing(before: int) -> Callable[[], bool]:
        return lambda: count() > before + 5 or 5 < count() < before

    async with patience("no latency, or no processor", demo):
        await until(lambda: count() > 0 and states() == {"running"})
    for name in NAMES:
        os.kill(demo.last["processes"][name]["pid"], 9)
        async with patience(f"{name} did not come back", demo):
            await until(restarted(name))
        assert states() == {"running"}
        async with patience(f"no objects after {name} came back", demo):
            await until(flowing(count()))
        texts = " ".join(event["text"] for event in demo.last["events"])
        assert f"{name} ended" in texts
        assert f"{name} is back after" in texts
        ledgers = demo.last["ledgers"]
        assert all(ledger["balanced"] for ledger in ledgers.values()), ledgers


def test_the_module_runs_from_anywhere(wtp_process: Processes, tmp_path: Path) -> None:
    path = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    demo = wtp_process("demo", "--duration", "1", cwd=tmp_path, env=path, python=sys.executable)
    assert demo.wait(60) == 0, demo.report()
