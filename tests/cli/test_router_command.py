"""`wtp router` and `wtp broker` as processes: what they start, say, refuse and leave behind."""

from __future__ import annotations

import re
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Process, Processes

pytestmark = pytest.mark.e2e

Port = Callable[[], int]


def addresses(free_port: Port) -> tuple[str, ...]:
    broker, admin = free_port(), free_port()
    return (
        "--listen", "127.0.0.1:0",
        "--broker", f"pulsar://127.0.0.1:{broker}",
        "--admin", f"http://127.0.0.1:{admin}",
    )  # fmt: skip


def router(start: Processes, *args: str) -> Process:
    process = start("router", *args)
    process.wait_for("--cert-hash", 60.0)
    return process


def gone(start: Processes, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while start.alive() and time.monotonic() < end:
        time.sleep(0.05)
    return not start.alive()


def test_it_starts_a_broker_and_says_so(
    wtp_process: Processes, free_port: Port, clean_home: Path, tmp_path: Path
) -> None:
    certs = tmp_path / "certs"
    process = router(wtp_process, *addresses(free_port), "--certs", str(certs))
    line = process.wait_for("--cert-hash")
    found = re.search(r"--router https://127\.0\.0\.1:(\d+)/wt --cert-hash ([0-9a-f]{64})", line)
    assert found, line
    assert int(found[1]) > 0
    assert str(clean_home / "broker") in process.wait_for("data  ")
    assert "embedded, started here" in process.stderr
    assert stat.S_IMODE((certs / "wtp.key").stat().st_mode) == 0o600
    assert len(wtp_process.alive()) == 2
    assert process.stop() == 130
    assert process.stdout == ""
    assert not wtp_process.alive()


def test_sigterm_ends_it_well(wtp_process: Processes, free_port: Port) -> None:
    process = router(wtp_process, *addresses(free_port))
    assert process.stop(signal.SIGTERM) == 0
    assert "router ran" in process.stderr


def test_a_killed_router_takes_its_broker_with_it(wtp_process: Processes, free_port: Port) -> None:
    where = addresses(free_port)
    process = router(wtp_process, *where)
    wtp_process.kill(process.pid)
    assert gone(wtp_process)
    again = router(wtp_process, *where)  # the folder is whole and not locked any more
    assert again.stop() == 130


def test_its_broker_is_started_again(wtp_process: Processes, free_port: Port) -> None:
    process = router(wtp_process, *addresses(free_port))
    (broker,) = [pid for pid, argv in wtp_process.alive().items() if " broker " in argv]
    wtp_process.kill(broker)
    end = time.monotonic() + 20
    brokers = [broker]
    while brokers in ([], [broker]) and time.monotonic() < end:
        time.sleep(0.05)
        brokers = [pid for pid, argv in wtp_process.alive().items() if " broker " in argv]
    assert brokers not in ([], [broker]), process.report()
    process.wait_for("broker died")
    assert process.stop() == 130


def test_a_locked_folder(wtp_process: Processes, free_port: Port, tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    first = wtp_process("broker", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", *data)
    first.wait_for("data  ", 60.0)
    second = wtp_process("broker", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", *data)
    assert second.wait() == 1
    through_router = wtp_process("router", *addresses(free_port), *data)
    assert through_router.wait() == 1
    for process in (second, through_router):
        lines = process.stderr.splitlines()
        assert lines[0].startswith("error: "), process.report()
        assert str(tmp_path / "data") in lines[0]
        assert lines[1].startswith("hint: ")
    assert len(wtp_process.alive()) == 1


def test_a_port_in_use(wtp_process: Processes, free_port: Port) -> None:
    with socket.create_server(("127.0.0.1", 0)) as blocker:
        port = blocker.getsockname()[1]
        taken = f"127.0.0.1:{port}"
        broker = wtp_process("broker", "--listen", taken, "--http", "127.0.0.1:0")
        assert broker.wait() in (1, 2, 3)
        router_process = wtp_process("router", "--listen", taken, *addresses(free_port)[2:])
        assert router_process.wait() in (1, 2, 3)
        # The admin port is taken, the broker's own is not: the embedded broker cannot start.
        where = ("--listen", "127.0.0.1:0", "--broker", f"pulsar://127.0.0.1:{free_port()}")
        third = wtp_process("router", *where, "--admin", f"http://{taken}")
        assert third.wait() in (1, 2, 3)
    for process in (broker, router_process, third):
        lines = [line for line in process.stderr.splitlines() if " info " not in line]
        assert lines[0].startswith("error: "), process.report()
        assert str(port) in lines[0], process.report()
        assert lines[1].startswith("hint: ")
        assert "Traceback" not in process.stderr


def test_a_folder_that_cannot_be_written(wtp_process: Processes) -> None:
    process = wtp_process("broker", "--listen", "127.0.0.1:0", "--data", "/proc/wtp")
    assert process.wait() == 1
    assert process.stderr.startswith("error: ")
    assert "/proc/wtp" in process.stderr
    assert "hint: " in process.stderr


@pytest.mark.parametrize("command", ["router", "broker"])
def test_a_public_address_is_refused(wtp_process: Processes, command: str) -> None:
    for listen in ("0.0.0.0:0", "[::]:0"):
        process = wtp_process(command, "--listen", listen)
        assert process.wait() == 2
        assert "public address" in process.stderr
        assert "--insecure-no-auth" in process.stderr


def test_no_broker_is_started_when_forbidden(wtp_process: Processes, free_port: Port) -> None:
    process = router(wtp_process, *addresses(free_port), "--no-start-broker")
    assert len(wtp_process.alive()) == 1
    assert "embedded" not in process.stderr
    assert process.stop() == 130


def test_debris_in_the_folder(wtp_process: Processes, tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("I am a file.", encoding="utf-8")
    process = wtp_process(
        "broker", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", str(folder)
    )
    assert process.wait() == 1
    assert process.stderr.startswith("error: ")
    assert "hint: " in process.stderr


def test_temporary_refuses_other_folders(wtp_process: Processes, tmp_path: Path) -> None:
    process = wtp_process("broker", "--data", str(tmp_path / "x"), "--temporary", str(tmp_path))
    assert process.wait() == 2
    assert tmp_path.is_dir()
