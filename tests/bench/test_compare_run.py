"""Comparisons as processes: every protocol, a link with loss, no rights, and a sudden end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from wtp.bench import compare
from wtp.bench.compare import Plan, run
from wtp.bench.compare_rivals import ONE_OFF, VIDEO, choose
from wtp.bench.lossylink import Stage, Weather
from wtp.errors import WtpError

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

DELAY_MS = 30.0


@pytest.fixture(scope="module")
def link() -> None:
    """Skip where there are no rights for a link."""
    try:
        Stage(Weather(0.5)).close()
    except WtpError as error:
        pytest.skip(f"root or user namespaces: {error.message}")


def of(figures: dict[str, Any], use: str) -> dict[str, dict[str, Any]]:
    return {one["protocol"]: one for one in figures["series"] if one["use"] == use}


def test_every_protocol_delivers_what_is_sent(link: None) -> None:
    plan = Plan(
        rivals=choose(["rest1", "rest2", "rtc-lossy", "pulsar-ws"]),
        weathers=(Weather(),),
        uses=(VIDEO, ONE_OFF),
        sizes=(20_000, 900),
        duration_s=0.5,
        warmup_s=0.1,
        rounds=1,
    )
    figures = run(plan)
    for name, one in of(figures, VIDEO).items():
        assert (one["n"], one["sent"], one["dropped"]) == (15, 15, 0), name
        assert 0 < one["p50_ms"] <= one["p99_ms"] <= one["max_ms"], name
        assert one["sender_cpu_ms_per_mb"] > 0, name
    assert len(of(figures, VIDEO)) == len(of(figures, ONE_OFF)) == 4
    assert all(one["handshake_ms"] > 0 for one in of(figures, ONE_OFF).values())
    between = {name: one["between_cpu_ms_per_mb"] for name, one in of(figures, VIDEO).items()}
    assert between.pop("REST HTTP/2") == 0
    assert figures["notes"] == ["Pulsar WebSocket API speaks without TLS here; the others have it."]
    assert not list(figures["p99_vs_websocket"])


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "wtp", "bench", "compare", "--rounds", "1", *args]


def test_loss_and_delay_of_the_link_show(link: None) -> None:
    """A known delay is a lower bound, TCP and UDP alike; who repeats loses nothing."""
    names = ("websocket", "wt-streams", "wt-datagrams")
    done = subprocess.run(
        command(
            *(word for name in names for word in ("--protocol", name)),
            *("--use", "video", "--duration", "1s", "--warmup", "0.2s"),
            *("--loss", "4%", "--delay", f"{DELAY_MS:g}ms", "-o", "json"),
        ),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    found = of(figures, VIDEO)
    assert all(one["p50_ms"] >= DELAY_MS for one in found.values())
    assert found["WebSocket"]["dropped"] == found["WebTransport streams"]["dropped"] == 0
    assert found["WebTransport datagrams"]["dropped"] > 3, "of 30 in 15 parts each"
    assert list(figures["p99_vs_websocket"]) == ["4 % loss, 30 ms each way"]
    assert figures["configuration"]["links"] == "4 % loss, 30 ms each way"
    assert "round 1 of 1, 4 % loss, 30 ms each way: WebSocket" in done.stderr


def test_without_rights_there_is_no_loss_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(weather: Weather) -> Stage:
        raise WtpError("There is no link with loss here: not permitted.", hint="Be root.")

    monkeypatch.setattr(compare, "Stage", refused)
    plan = Plan(
        rivals=choose(["websocket"]),
        weathers=(Weather(0.01),),
        uses=(VIDEO,),
        duration_s=0.2,
        warmup_s=0.0,
        rounds=1,
    )
    figures = run(plan)
    assert figures["configuration"]["links"] == "clean"
    assert of(figures, VIDEO)["WebSocket"]["n"] == 6
    assert "not permitted. Be root. Compared without loss, on loopback." in figures["notes"][0]


def descendants(pid: int) -> set[int]:
    """Processes that a process has started, directly or not."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
    found = {pid}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def test_after_kill_9_nothing_is_left(link: None) -> None:
    process = subprocess.Popen(
        command("--protocol", "pulsar-ws", "--use", "video", "--loss", "5%", "--duration", "60s"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started: set[int] = set()
    try:
        limit_s = time.monotonic() + 90
        # link, both ends, the broker, and multiprocessing's own tracker
        while len(started) < 5 and time.monotonic() < limit_s:
            time.sleep(0.1)
            started = descendants(process.pid)
        assert len(started) >= 5
        os.kill(process.pid, signal.SIGKILL)
        while any(Path(f"/proc/{pid}").exists() for pid in started):
            assert time.monotonic() < limit_s + 60, "something outlives the command"
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
