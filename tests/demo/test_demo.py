"""The demo with stand-ins for its processes: order, recovery, figures, cleaning up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from wtp.children import Child
from wtp.config.load import parse
from wtp.config.schema import Settings
from wtp.demo import Demo, DemoOptions
from wtp.demo import plan as plan_module
from wtp.demo.figures import ledgers, measured
from wtp.demo.run import TAIL_S
from wtp.errors import WtpError
from wtp.ui import demo as ui

STAND_IN = """
import json, os, sys, threading, time
name = sys.argv[1]
def say(**event):
    os.write(1, (json.dumps(event) + "\\n").encode())
ledger = {"offered": 10, "delivered": 8, "dropped": {"queue": 1}, "in_flight": 1}
figures = {
    "broker": {"topics": 1},
    "router": {"objects": ledger},
    "publish": {"tracks": {"video": {"kind": "video", "size": "640x480", **ledger}}},
    "consume": {
        "objects": 8, "delivered": 8, "dropped": {}, "in_flight": 0, "gaps": 0, "fps": 30.0,
        "rate": 2.5e6, "clock_error_ms": 0.0,
        "latency": {"total": {"n": 8, "p50_ms": 1.5, "p90_ms": 2, "p99_ms": 3, "max_ms": 4},
                    "hops": {"send->route": {"n": 8, "p50_ms": 0.3, "p90_ms": 1, "p99_ms": 2,
                                             "max_ms": 3}}},
    },
    "processor": {"objects": {"offered": 9, "delivered": 1, "in_flight": 1,
                              "dropped": {"filtered": 5, "no-key": 2}}},
}[name]
if os.environ.get("STARTED"):
    with open(os.environ["STARTED"], "a") as file:
        file.write(name + "\\n")
if os.environ.get("BREAK") == name:
    code = os.environ.get("CODE", "x")
    say(event="error", message="It does not start.", hint="Mend it.", code=code, exit_code=3)
    sys.exit(3)
say(event="ready", name=name)
if os.environ.get("SILENT") != name:
    say(event="status", **figures)
while os.read(0, 100):
    pass
say(event="summary", **figures)
"""


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    for name in [name for name in os.environ if name.startswith("WTP_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Child]:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN, encoding="utf-8")

    def build(args: list[str], **more: Any) -> Child:
        return Child(args, program=[sys.executable, str(script)], **more)

    return build


@contextlib.asynccontextmanager
async def running(demo: Demo) -> AsyncIterator[dict[str, Any]]:
    ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(demo.run(ready.set_result))
        try:
            yield await ready
        finally:
            demo.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_from_start_to_end(make: Callable[..., Child], tmp_path: Path) -> None:
    demo = Demo(Settings(), DemoOptions(), make)
    async with running(demo) as info:
        assert set(info["connect"]) == {"WTP_ROUTER", "WTP_BROKER", "WTP_ADMIN", "WTP_CERTS"}
        folder = Path(info["folder"])
        assert (folder / "profile.yaml").is_file()
        assert (folder / "certs" / "wtp.crt").is_file()
        await until(lambda: demo.snapshot()["first_latency_s"] is not None)
        await until(lambda: states(demo) == {"running"})
        pids = [process["pid"] for process in demo.snapshot()["processes"].values()]
        assert len(pids) == 5
        assert alive(pids) == pids
    final = demo.snapshot()
    assert {process["state"] for process in final["processes"].values()} == {"stopped"}
    assert final["latency"]["p50_ms"] == 1.5
    assert final["ledgers"]["publisher"]["balanced"]
    processor = final["ledgers"]["processor"]
    assert (processor["delivered"], processor["dropped"]) == (6, {"no-key": 2})
    assert processor["balanced"]
    assert not alive(pids)
    assert not list((tmp_path / "tmp").iterdir())


def states(demo: Demo) -> set[str]:
    return {process["state"] for process in demo.snapshot()["processes"].values()}


async def test_the_processor_starts_after_the_first_figures(
    make: Callable[..., Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    monkeypatch.setenv("STARTED", str(started))
    demo = Demo(Settings(), DemoOptions(), make)

    def names() -> list[str]:
        return started.read_text(encoding="utf-8").split() if started.exists() else []

    async with running(demo):
        await until(lambda: states(demo) == {"running"} and len(names()) == 5)
        assert demo.snapshot()["first_latency_s"] is not None
    assert sorted(names()) == ["broker", "consume", "processor", "publish", "router"]
    assert names().index("consume") < names().index("processor")


async def test_without_figures_there_is_no_processor(
    make: Callable[..., Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    monkeypatch.setenv("STARTED", str(started))
    monkeypatch.setenv("SILENT", "consume")
    demo = Demo(Settings(), DemoOptions(duration_s=0.3), make)
    await demo.run(lambda _: None)
    assert "processor" in demo.snapshot()["processes"]
    assert "processor" not in started.read_text(encoding="utf-8").split()


async def test_the_processor_can_be_left_out(make: Callable[..., Child]) -> None:
    demo = Demo(Settings(), DemoOptions(processor=False), make)
    async with running(demo):
        await until(lambda: demo.snapshot()["first_latency_s"] is not None)
        assert set(demo.snapshot()["processes"]) == {"broker", "router", "publisher", "consumer"}
    assert states(demo) == {"stopped"}
    assert "processor" not in demo.snapshot()["ledgers"]


async def test_the_demo_goes_on_when_the_processor_does_not_start(
    make: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREAK", "processor")
    demo = Demo(Settings(), DemoOptions(), make)
    async with running(demo):
        await until(lambda: len(demo.snapshot()["events"]) > 1)
        texts = [event["text"] for event in demo.snapshot()["events"]]
        assert texts[0] == "processor cannot be started: It does not start. Mend it."
        assert texts[1] == "processor ended and is started again: It does not start."
        others = {"broker", "router", "publisher", "consumer"}
        shown = demo.snapshot()["processes"]
        assert {shown[name]["state"] for name in others} == {"running"}
        monkeypatch.delenv("BREAK")
        await until(lambda: states(demo) == {"running"})


async def test_it_ends_after_its_duration(make: Callable[..., Child]) -> None:
    demo = Demo(Settings(), DemoOptions(duration_s=0.2), make)
    async with asyncio.timeout(60):
        await demo.run(lambda _: None)
    final = demo.snapshot()
    assert final["running_s"] >= 0.2
    ending_s = final["elapsed_s"] - final["started_s"] - final["running_s"]
    assert ending_s >= TAIL_S - 0.15, "ending is not running; each figure is rounded"


async def test_keep_leaves_the_folder(make: Callable[..., Child], tmp_path: Path) -> None:
    demo = Demo(Settings(), DemoOptions(duration_s=0, keep=True), make)
    await demo.run(lambda _: None)
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == [
        Path(demo.snapshot()["folder"]).name
    ]


@pytest.mark.parametrize("name", ["broker", "router", "publisher", "consumer", "processor"])
async def test_a_process_that_dies_comes_back(make: Callable[..., Child], name: str) -> None:
    demo = Demo(Settings(), DemoOptions(), make)
    async with running(demo):
        await until(lambda: states(demo) == {"running"})
        before = demo.snapshot()["processes"][name]["pid"]
        os.kill(before, 9)
        await until(lambda: demo.snapshot()["processes"][name]["restarts"] == 1)
        now = demo.snapshot()["processes"][name]
        assert now["state"] == "running"
        assert now["pid"] != before
        texts = [event["text"] for event in demo.snapshot()["events"]]
        assert any(text.startswith(f"{name} ended") and "SIGKILL" in text for text in texts)
        assert any(text.startswith(f"{name} is back after") for text in texts)


@pytest.mark.parametrize("command", ["broker", "router", "publish", "consume"])
async def test_a_process_that_does_not_start_ends_the_demo(
    make: Callable[..., Child],
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("BREAK", command)
    demo = Demo(Settings(), DemoOptions(), make)
    with pytest.raises(ExceptionGroup) as caught:
        await demo.run(lambda _: None)
    error = caught.value.exceptions[0]
    assert isinstance(error, WtpError)
    assert (error.message, error.hint, error.exit_code) == ("It does not start.", "Mend it.", 3)
    texts = [event["text"] for event in demo.snapshot()["events"]]
    assert not any("does not start" in text for text in texts), "it is raised, not said as well"
    assert not list((tmp_path / "tmp").iterdir())


async def test_free_ports_when_somebody_was_faster(
    make: Callable[..., Child], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[bool] = []

    def ports(*, usual: bool) -> tuple[int, int, int]:
        asked.append(usual)
        monkeypatch.setenv("BREAK", "router" if usual else "")
        return 1, 2, 3

    monkeypatch.setattr(plan_module, "choose_ports", ports)
    monkeypatch.setenv("CODE", "bind")
    await Demo(Settings(), DemoOptions(duration_s=0), make).run(lambda _: None)
    assert asked == [True, False]
    assert not list((tmp_path / "tmp").iterdir())


async def test_stopping_while_it_starts(make: Callable[..., Child], tmp_path: Path) -> None:
    demo = Demo(Settings(), DemoOptions(), make)
    running = asyncio.create_task(demo.run(lambda _: pytest.fail("never ready")))
    await until(lambda: bool(demo.snapshot()["processes"]))
    demo.stop()
    async with asyncio.timeout(60):
        await running
    assert not list((tmp_path / "tmp").iterdir())


async def test_a_cancelled_demo_leaves_nothing(make: Callable[..., Child], tmp_path: Path) -> None:
    demo = Demo(Settings(), DemoOptions(), make)
    ready = asyncio.Event()
    running = asyncio.create_task(demo.run(lambda _: ready.set()))
    await ready.wait()
    pids = [process["pid"] for process in demo.snapshot()["processes"].values()]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(pids)
    assert not list((tmp_path / "tmp").iterdir())


def test_the_usual_ports_or_free_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        taken, udp_only = tcp.getsockname()[1], udp.getsockname()[1]
        monkeypatch.setattr(plan_module, "ROUTER_PORT", udp_only)
        monkeypatch.setattr(plan_module, "BROKER_PORT", taken)
        router, broker, _ = plan_module.choose_ports()
        assert router != udp_only
        assert broker != taken
    assert plan_module.choose_ports()[:2] == (udp_only, taken)


def test_the_plan_points_every_process_to_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "choose_ports", lambda **_: (1001, 1002, 1003))
    plan = plan_module.prepare(Settings(), DemoOptions(source="/clip.mp4"))
    profile = plan.folder / "profile.yaml"
    text = profile.read_text(encoding="utf-8")
    settings = parse(text, "profile.yaml")
    assert settings == plan.settings
    assert yaml.safe_load(text)["rooms"]["create"] is True
    assert settings.broker.start is False
    assert settings.broker.url == plan.connect["WTP_BROKER"] == "pulsar://127.0.0.1:1002"
    assert settings.router.url == plan.connect["WTP_ROUTER"] == "https://127.0.0.1:1001/wt"
    assert plan.taken == [4433, 6650, 8080]
    assert all(args[1:3] == ["--profile", str(profile)] or "video" in args
               for args in plan.args.values())  # fmt: skip
    assert plan.args["publisher"][-3:] == ["--source", "/clip.mp4", "--loop"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (DemoOptions(), ["--source", "testsrc"]),
        (DemoOptions(camera="2"), ["--camera", "2"]),
    ],
)
def test_sources(options: DemoOptions, words: list[str]) -> None:
    plan = plan_module.prepare(Settings(), options)
    assert plan.args["publisher"][-len(words) :] == words


def test_figures_of_nothing() -> None:
    assert ledgers({}) == ledgers({"processor": {"objects": {}}}) == {}
    assert measured({}, {})["latency"]["n"] == 0


def test_an_unbalanced_ledger_is_told() -> None:
    out = ledgers({"router": {"objects": {"offered": 3, "delivered": 1, "dropped": {"x": 1}}}})
    assert out["router"]["balanced"] is False


HOPS = ("capture->encode", "encode->send", "send->route", "route->publish", "publish->receive")


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def sample() -> dict[str, Any]:
    hop = {"n": 123456, "p50_ms": 1234.56, "p90_ms": 1234.5, "p99_ms": 1234.5, "max_ms": 12345.6}
    ledger = {"offered": 123456, "delivered": 123000, "in_flight": 6, "balanced": True,
              "dropped": {"queue": 300, "stale-group": 100, "no-session": 50}}  # fmt: skip
    process = {"state": "restarting", "pid": 4194303, "restarts": 12, "recovery_s": 12.3}
    return {
        "elapsed_s": 3726.4, "started_s": 2.0, "running_s": 3723.4,
        "duration_s": 7200.0, "first_latency_s": 2.4,
        "latency": {**hop, "clock_error_ms": 0.0},
        "hops": dict.fromkeys(HOPS, hop),
        "video": {"size": "1920x1080", "content_type": "video/h264", "fps": 30.0,
                  "bitrate_bps": 2.5e6, "round_trip_ms": 0.31},
        "ledgers": {"publisher": ledger, "router": ledger, "consumer": {**ledger, "missing": 3},
                    "processor": ledger},
        "processes": dict.fromkeys(
            ("broker", "router", "publisher", "consumer", "processor"), process
        ),
        "connect": {"WTP_ROUTER": "https://127.0.0.1:54433/wt",
                    "WTP_BROKER": "pulsar://127.0.0.1:56650",
                    "WTP_ADMIN": "http://127.0.0.1:58080",
                    "WTP_CERTS": "/tmp/wtp-demo-abcdefgh/certs"},
        "folder": "/tmp/wtp-demo-abcdefgh", "kept": True,
        "events": [{"at_s": 1.0, "text": "x" * 200}] * 5,
    }  # fmt: skip


def drawn(shown: Any, width: int = 80) -> list[str]:
    console = Console(width=width, height=24, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return capture.get().splitlines()


def test_the_dashboard_fits_80x24() -> None:
    for snapshot in (sample(), {}, Demo(Settings(), DemoOptions()).snapshot()):
        lines = drawn(ui.screen(snapshot))
        assert len(lines) <= 23, "\n".join(lines)
        assert max(map(len, lines)) <= 80
    text = "\n".join(drawn(ui.screen(sample())))
    for name, value in sample()["connect"].items():
        assert f"{name}={value}" in text
    assert "capture->receipt" in text
    assert "clock error 0.00 ms" in text
    assert "processor 123456 = 123000 processed + 450 dropped" in text


def test_lines_and_summary() -> None:
    line = ui.line(sample())
    assert "p50 1234.56" in line
    assert "publisher: 450 (no-session 50, queue 300, stale-group 100)" in line
    assert "processor: 450" not in line
    assert "broker restarting" in line
    assert "latency unknown" in ui.line({})
    text = "\n".join(drawn(ui.summary(sample()), 200))
    assert "123456 = 123000 delivered + 450 dropped + 6 in flight" in text
    assert "wtp broker --data /tmp/wtp-demo-abcdefgh/broker" in text
    assert "export WTP_ROUTER=https://127.0.0.1:54433/wt" in ui.announce(sample())


def test_times_count_from_when_everything_ran() -> None:
    snapshot = {**sample(), "elapsed_s": 12.5, "running_s": 9.5, "duration_s": 10.0}
    snapshot["events"] = [{"at_s": 1.0, "text": "early"}, {"at_s": 5.0, "text": "later"}]
    shown = "\n".join(drawn(ui.screen(snapshot)))
    assert "wtp demo  9.5 s of 10.0 s" in shown
    assert "starting  early" in shown
    assert "   3.0 s  later" in shown
    assert ui.line(snapshot).startswith("9.5 s, ")
    assert "The demo ran 9.5 s, after 2.0 s of starting." in drawn(ui.summary(snapshot))[0]
    early = {**snapshot, "running_s": None, "started_s": None}
    assert "wtp demo  starting" in drawn(ui.screen(early))[0]
    assert "before everything ran" in drawn(ui.summary(early))[0]
