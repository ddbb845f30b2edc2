"""What the harness strikes: a broker, a router and verifiable writers, as real processes."""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tests.chaos.proxies import Loop, TcpProxy, UdpProxy
from tests.e2e.stage import Run, Stage, Values
from tests.processes import ROOT
from tests.pulsar import RealPulsar

ENTRY = "tests.chaos.entry"
READY_S = 60.0
JVM_S = 240.0
"""Seconds a real Pulsar may take to serve, on a machine that is busy with other tests."""
DISK_BYTES = 400 * 1024 * 1024
"""The data folder of the embedded broker, when it lies on a small file system of its own."""


class Broker(Protocol):
    """A broker that can be killed."""

    def start(self) -> None:
        """Start it on its data and wait until it serves."""

    def kill(self) -> None:
        """Kill -9 and wait for the end."""

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""

    def close(self) -> None:
        """End it."""


def pause(pid: int, seconds: float) -> None:
    """SIGSTOP a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


class Embedded:
    """The embedded broker, when possible on a file system that can be filled.

    Args:
        stage: Where it plays.
    """

    def __init__(self, stage: Stage) -> None:
        self.disk = mounted(stage.folder / "disk")
        self._data = self.disk or stage.folder / "broker"
        self._stage = stage
        self._run: Run | None = None

    def start(self) -> None:
        """Start it on its data and wait until it serves."""
        self._run = self._stage.broker("--data", str(self._data / "data"))

    def kill(self) -> None:
        """Kill -9 and wait for the end."""
        assert self._run is not None
        self._stage.kill_hard(self._run)

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        assert self._run is not None
        pause(self._run.pid, seconds)

    def fill(self, seconds: float) -> None:
        """Leave no byte on its disk for a while."""
        assert self.disk is not None
        ballast = self.disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        time.sleep(seconds)
        ballast.unlink()

    def close(self) -> None:
        """End it and give the disk back."""
        if self._run is not None and self._run.popen.poll() is None:
            self._run.stop(signal.SIGTERM)
        if self.disk is not None:
            _libc.umount2(str(self.disk).encode(), DETACH)


class Real:
    """A real Apache Pulsar.

    Args:
        stage: Where it plays; its addresses become those of this broker.
    """

    disk: Path | None = None

    def __init__(self, stage: Stage) -> None:
        self._pulsar = RealPulsar(stage.folder / "pulsar")
        stage.broker_port, stage.broker_url = self._pulsar.port, self._pulsar.url
        stage.env["WTP_ADMIN"] = stage.admin_url = self._pulsar.admin

    def start(self) -> None:
        """Start it on its data and wait until it serves."""
        self._pulsar.start(JVM_S)

    def kill(self) -> None:
        """Kill -9 and wait for the end."""
        self._pulsar.kill()

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        assert self._pulsar.pid is not None
        pause(self._pulsar.pid, seconds)

    def close(self) -> None:
        """End it."""
        self._pulsar.close()


_libc = ctypes.CDLL(None, use_errno=True)
DETACH = 2


def mounted(folder: Path) -> Path | None:
    """A small file system of memory; None for others than root."""
    folder.mkdir()
    options = f"size={DISK_BYTES}".encode()
    if os.geteuid() or _libc.mount(b"none", str(folder).encode(), b"tmpfs", 0, options):
        return None
    return folder


class Writer:
    """`wtp publish --data` of numbered lines: `<number of the writer>:<1, 2, 3, ...>`.

    Args:
        stage: Where it plays.
        number: Of this writer in its room.
        room: Where it publishes.
        url: The router's, or that of a proxy before it.
    """

    def __init__(self, stage: Stage, number: int, room: str, url: str) -> None:
        self.number = number
        self.written = 0
        self.killed = False
        fifo = stage.folder / f"lines-{room}-{number}"
        os.mkfifo(fifo)
        words = ("publish", "--data", str(fifo), "--lines", "--name", f"w{number}", "--room", room)
        self.run = stage.child(*words, env={"WTP_ROUTER": url, "WTP_HOME": str(stage.home),
                                            "PYTHONPATH": str(ROOT)}, entry=(ENTRY,))  # fmt: skip
        self._texts: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, args=(fifo,), daemon=True)
        self._thread.start()
        self.run.event("ready", READY_S)

    def say(self, count: int) -> None:
        """Write so many lines; a thread does it, since the writer may push back."""
        first = self.written + 1
        self.written += count
        lines = (f"{self.number}:{n}\n" for n in range(first, first + count))
        self._texts.put("".join(lines).encode())

    def end(self) -> None:
        """No line follows."""
        self._texts.put(None)

    @property
    def track(self) -> Values:
        """Newest figures of its track."""
        tracks = self.run.last.get("tracks", {})
        return dict(tracks.get("data", {}))

    @property
    def acked(self) -> int:
        """Lines whose receipt it has told."""
        return int(self.track.get("last_receipt", 0))

    @property
    def pending(self) -> int:
        """Lines that it has taken and that have no receipt."""
        return int(self.track.get("queue_objects", 0))

    def _write(self, fifo: Path) -> None:
        with suppress(BrokenPipeError), fifo.open("wb", buffering=0) as file:
            while (text := self._texts.get()) is not None:
                file.write(text)


class Theatre:
    """Everything that plays, and the proxies between.

    Args:
        stage: Its folder and ports.
        broker: `embedded` or `real`.
        lie: Use the broken router.
    """

    def __init__(self, stage: Stage, broker: str, *, lie: bool = False) -> None:
        self.stage = stage
        self.loop = Loop()
        self.broker: Embedded | Real = Real(stage) if broker == "real" else Embedded(stage)
        self.link = TcpProxy(self.loop, stage.broker_port)
        self.air = UdpProxy(self.loop, stage.router_port)
        self.air_url = f"https://127.0.0.1:{self.air.port}/wt"
        stage.env["WTP_BROKER"] = f"pulsar://127.0.0.1:{self.link.port}"
        self._entry: Sequence[str] = (ENTRY, "--lie") if lie else (ENTRY,)
        self.broker.start()
        self.router = self.start_router()

    def start_router(self) -> Run:
        """Start the router and wait until it is ready."""
        self.router = self.stage.child("router", env={"PYTHONPATH": str(ROOT)}, entry=self._entry)
        self.router.event("ready", READY_S)
        return self.router

    def close(self) -> None:
        """End what is not the stage's to end."""
        if self.router.popen.poll() is None:
            self.router.stop(signal.SIGTERM)
        self.link.close()
        self.air.close()
        self.broker.close()
        self.loop.close()
