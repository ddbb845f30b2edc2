"""The real Pulsar itself: one of each variant for a run, and nothing of it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.stage import wait_for
from tests.processes import ROOT
from tests.pulsar import RealPulsar

GUARD = [sys.executable, "-I", str(ROOT / "tests" / "pulsar_guard.py")]


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.pulsar
def test_both_variants_are_healthy(real_pulsar: RealPulsar, factory_pulsar: RealPulsar) -> None:
    assert real_pulsar.healthy()
    assert factory_pulsar.healthy()
    assert real_pulsar.url != factory_pulsar.url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_its_owner(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "run" / "tuned"
    folder.mkdir(parents=True)
    (folder.parent / "tuned.start").touch()
    owner = subprocess.Popen(["sleep", "60"])
    done = subprocess.run(
        [*GUARD, str(owner.pid), str(folder), "sleep", "60"],
        capture_output=True,
        text=True,
        check=True,
    )
    pid = int(done.stdout)
    assert runs(pid)
    owner.send_signal(number)
    owner.wait()
    wait_for(lambda: not runs(pid), "its end")
    wait_for(lambda: not folder.parent.exists(), "its folder gone")


def test_its_own_end_keeps_the_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [*GUARD, str(os.getpid()), str(tmp_path), "sleep", "60"],
        capture_output=True,
        text=True,
        check=True,
    )
    os.kill(int(done.stdout), signal.SIGKILL)
    wait_for(lambda: not runs(int(done.stdout)), "its end")
    assert (tmp_path / "pulsar.log").exists()


def test_all_processes_agree_on_its_ports(tmp_path: Path) -> None:
    """Whoever asks first decides, also when several ask at once."""
    ready = threading.Barrier(8)

    def ask(_: int) -> tuple[int, int]:
        ready.wait()
        pulsar = RealPulsar(tmp_path / "one")
        return pulsar.port, pulsar.http_port

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["ports.json"]
