"""A real Apache Pulsar standalone on free ports, in a folder of its own.

Two variants: `tuned` (de-duplication on, retention of a day, idle topics kept: what wtp asks of a
cluster) and `factory` (Pulsar's own defaults: none of these). Fixtures `real_pulsar` and
`factory_pulsar` of tests/conftest.py give one JVM of each to a whole run, all its workers included;
`RealPulsar` gives a test a JVM that it may kill.

WTP_TEST_PULSAR and WTP_TEST_PULSAR_FACTORY name running ones instead: "pulsar://HOST:PORT
http://HOST:PORT".
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.pulsar_guard import LOG
from tests.pulsar_jars import jars

START_S = 200.0
"""Seconds to wait for a healthy broker: 14-18 on two idle cores, far more on busy ones."""

BASE = {
    "clusterName": "standalone",
    "bindAddress": "127.0.0.1",
    "advertisedAddress": "127.0.0.1",
    "numIOThreads": "2",
    "numHttpServerThreads": "8",
    "managedLedgerDefaultEnsembleSize": "1",
    "managedLedgerDefaultWriteQuorum": "1",
    "managedLedgerDefaultAckQuorum": "1",
    "managedLedgerCacheSizeMB": "64",
    "webSocketServiceEnabled": "true",
    "loadBalancerEnabled": "false",
    # Without it one message of 5 MB makes the bookie drop its connection, and the broker retries
    # for ever. Pulsar's distribution ships this value in its configuration files.
    "nettyMaxFrameSizeBytes": "5253120",
}
"""What one process on one machine needs, and nothing that a client notices."""

TUNED = {
    "managedLedgerNewEntriesCheckDelayInMillis": "0",
    "webSocketMaxTextFrameSize": "8388608",
    "defaultRetentionTimeInMinutes": "1440",
    "defaultRetentionSizeInMB": "1024",
    "brokerDeleteInactiveTopicsEnabled": "false",
    "brokerDeduplicationEnabled": "true",
    "journalSyncData": "false",
    "journalMaxGroupWaitMSec": "0",
    "journalFlushWhenQueueEmpty": "true",
}
DEATHS = "deaths"
VARIANTS: dict[str, dict[str, str]] = {"tuned": TUNED, "factory": {}}

LOG4J = """<Configuration status="warn">
  <Appenders><Console name="c"><PatternLayout pattern="%d %-5level %logger{1} %msg%n%throwable"/>
  </Console></Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="c"/></Root></Loggers>
</Configuration>
"""
METADATA = "org.apache.pulsar.metadata.bookkeeper.PulsarMetadata"
JVM = [
    "-Xmx640m",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:MaxDirectMemorySize=512m",
    "-XX:+UseSerialGC",
    "-Dlog4j2.configurationFile=log4j2.xml",
    f"-Dbookkeeper.metadata.bookie.drivers={METADATA}BookieDriver",
    f"-Dbookkeeper.metadata.client.drivers={METADATA}ClientDriver",
    "-Dio.netty.tryReflectionSetAccessible=true",
]
OPENED = (
    "java.base/java.io java.base/java.util.zip java.base/java.nio java.base/java.lang "
    "java.base/jdk.internal.misc java.base/jdk.internal.platform java.base/sun.net "
    "java.management/sun.management jdk.management/com.sun.management.internal"
)


class RealPulsar:
    """One Pulsar standalone; nothing runs before `start`.

    All it knows lies in its folder, so that another process may go on with it.

    Args:
        folder: Its own; made here, removed by `close`.
        variant: `tuned` or `factory`.
        extra: Further lines of standalone.conf, over those of the variant.
        jvm: Further arguments of the JVM.
        tls: Gives it TLS ports too (`url_tls`, `admin_tls`); the certificates come by `extra`.
        token: What the readiness check shows when authentication is switched on.
        owner: Process at whose end this one ends too, whatever happens; default: this process.
    """

    def __init__(
        self,
        folder: Path,
        variant: str = "tuned",
        *,
        extra: Mapping[str, str] | None = None,
        jvm: Sequence[str] = (),
        tls: bool = False,
        token: str | None = None,
        owner: int | None = None,
    ) -> None:
        self.folder = folder
        self.variant = variant
        self._jvm = list(jvm)
        self._token = token
        self._owner = owner or os.getpid()
        self.port, self.http_port, self._tls_port, self._https_port = _agreed_ports(folder)
        lines = {**BASE, **VARIANTS[variant]}
        lines |= {"brokerServicePort": str(self.port), "webServicePort": str(self.http_port)}
        if tls:
            lines["brokerServicePortTls"] = str(self._tls_port)
            lines["webServicePortTls"] = str(self._https_port)
        self.settings = {**lines, **(extra or {})}

    @property
    def url(self) -> str:
        """Address for Pulsar clients."""
        return f"pulsar://127.0.0.1:{self.port}"

    @property
    def url_tls(self) -> str:
        """The same over TLS, with `tls`."""
        return f"pulsar+ssl://127.0.0.1:{self._tls_port}"

    @property
    def admin(self) -> str:
        """Base address of the admin REST API."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def admin_tls(self) -> str:
        """The same over TLS, with `tls`."""
        return f"https://127.0.0.1:{self._https_port}"

    @property
    def websocket(self) -> str:
        """Base address of the WebSocket API."""
        return f"ws://127.0.0.1:{self.http_port}/ws/v2"

    @property
    def pid(self) -> int | None:
        """Process id of the JVM; None when none was started or it was ended here."""
        try:
            return int((self.folder / "pid").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    @property
    def log(self) -> str:
        """The end of what it wrote (warnings and errors only)."""
        with suppress(FileNotFoundError):
            return (self.folder / LOG).read_text(encoding="utf-8", errors="replace")[-6000:]
        return ""

    def start(self, timeout_s: float = START_S) -> RealPulsar:
        """Start the JVM and wait until it is healthy.

        Raises:
            NoJars: Maven could not fetch Pulsar.
            AssertionError: It ended, or is not healthy in time; with the end of its log.
        """
        self.launch()
        self.wait_healthy(timeout_s)
        return self

    def launch(self) -> None:
        """Start the JVM and do not wait."""
        assert self.pid is None, "It runs already."
        text = "".join(f"{key}={value}\n" for key, value in self.settings.items())
        (self.folder / "standalone.conf").write_text(text, encoding="utf-8")
        (self.folder / "log4j2.xml").write_text(LOG4J, encoding="utf-8")
        opened = [
            part for name in OPENED.split() for part in ("--add-opens", f"{name}=ALL-UNNAMED")
        ]
        starter = ["org.apache.pulsar.PulsarStandaloneStarter", "--config", "standalone.conf"]
        java = ["java", *JVM, *opened, *self._jvm, "-cp", f"{jars()}/*", *starter]
        java += ["-nfw", "-nss", "-a", "127.0.0.1"]
        guard = Path(__file__).with_name("pulsar_guard.py")
        done = subprocess.run(
            [sys.executable, "-I", str(guard), str(self._owner), str(self.folder), *java],
            env={key: value for key, value in os.environ.items() if not key.startswith("WTP_")},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        (self.folder / "pid").write_text(done.stdout, encoding="utf-8")

    def wait_healthy(self, timeout_s: float = START_S) -> None:
        """Wait until it serves clients."""
        end = time.monotonic() + timeout_s
        while not self.healthy():
            assert self.running(), f"Pulsar ended at its start.\n{self.log}"
            assert time.monotonic() < end, f"Pulsar is not healthy in {timeout_s} s.\n{self.log}"
            time.sleep(0.2)

    def healthy(self) -> bool:
        """Whether it says that it can serve (with authentication but no token: that it answers)."""
        path = "/admin/v2/brokers/health"
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            request = urllib.request.Request(self.admin + path, headers=headers)
            with urllib.request.urlopen(request, timeout=5.0) as answer:
                return bool(answer.read().strip() == b"ok")
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 401 and not self._token
        except OSError:
            return False

    def running(self) -> bool:
        """Whether the JVM runs."""
        pid = self.pid
        return pid is not None and not _ended(pid, 0.0)

    def kill(self) -> None:
        """Kill -9 the JVM and wait for its end; its data stays."""
        self._end(signal.SIGKILL, 30.0)

    def stop(self, timeout_s: float = 60.0) -> None:
        """Ask the JVM to end and wait; killed when it does not listen."""
        self._end(signal.SIGTERM, timeout_s)

    def restart(self, *, hard: bool = False) -> None:
        """End it (kill -9 with `hard`) and start it again on its data and ports."""
        if hard:
            self.kill()
        else:
            self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RealPulsar:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self, number: int, timeout_s: float) -> None:
        pid = self.pid
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            if not _ended(pid, timeout_s):
                os.kill(pid, signal.SIGKILL)
                assert _ended(pid, 10.0), f"Process {pid} cannot be ended."
        (self.folder / "pid").unlink(missing_ok=True)


class RunningPulsar(RealPulsar):
    """One that somebody else started and ends; `WTP_TEST_PULSAR` names it."""

    def __init__(self, addresses: str) -> None:
        self._url, self._admin = addresses.split()
        self._token = None

    @property
    def url(self) -> str:
        """Address for Pulsar clients."""
        return self._url

    @property
    def admin(self) -> str:
        """Base address of the admin REST API."""
        return self._admin

    @property
    def websocket(self) -> str:
        """Base address of the WebSocket API."""
        return self._admin.replace("http", "ws", 1) + "/ws/v2"

    @property
    def pid(self) -> int | None:
        """Not known."""
        return None

    def restart(self, *, hard: bool = False) -> None:
        """Refused."""
        raise AssertionError("WTP_TEST_PULSAR names somebody else's broker; it is not restarted.")


class SharedPulsar:
    """The JVMs of one test run, one of each variant, whichever of its processes asks first.

    Args:
        folder: The run's; the same in all its processes.
        owner: The process that controls the run; the JVMs end with it.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        self.folder = folder
        self.owner = owner

    def get(self, variant: str) -> RealPulsar:
        """The run's JVM of a variant, healthy; started now if nobody did, or if it has died."""
        pulsar = self.launch(variant)
        if not isinstance(pulsar, RunningPulsar):
            pulsar.wait_healthy()
        return pulsar

    def launch(self, variant: str) -> RealPulsar:
        """The run's JVM of a variant, which may still be on its way."""
        if addresses := os.environ.get(_variable(variant)):
            return RunningPulsar(addresses)
        pulsar = RealPulsar(self.folder / variant, variant, owner=self.owner)
        if not pulsar.running():
            with self._locked(f"{variant}.start"):
                if not pulsar.running():
                    self._start_again(pulsar)
        return pulsar

    def running(self, variant: str) -> bool:
        """Whether the run's JVM of a variant, or the one that is named instead, runs."""
        named = _variable(variant) in os.environ
        return named or RealPulsar(self.folder / variant, variant).running()

    def _start_again(self, pulsar: RealPulsar) -> None:
        if pulsar.pid is not None:
            with (self.folder / DEATHS).open("a", encoding="utf-8") as file:
                file.write(f"The real Pulsar ({pulsar.variant}) died:\n{pulsar.log}\n")
        pulsar.kill()
        pulsar.launch()

    @property
    def deaths(self) -> str:
        """The last words of those that died by themselves."""
        with suppress(FileNotFoundError):
            return (self.folder / DEATHS).read_text(encoding="utf-8")
        return ""

    def close(self) -> None:
        """End all of them and remove their folders; called by the owner."""
        for variant in VARIANTS:
            if (self.folder / variant).is_dir():
                RealPulsar(self.folder / variant, variant).close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with (self.folder / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _agreed_ports(folder: Path) -> list[int]:
    """The four ports of whoever lives in a folder, the same for all processes that ask at once."""
    ports = folder / "ports.json"
    if not ports.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        own = folder / f"ports-{uuid.uuid4().hex}.json"
        own.write_text(json.dumps(free_ports(4)), encoding="utf-8")
        with suppress(FileExistsError):
            os.link(own, ports)
        own.unlink()
    found: list[int] = json.loads(ports.read_text(encoding="utf-8"))
    return found


def _variable(variant: str) -> str:
    """Environment variable that names a running one."""
    return "WTP_TEST_PULSAR" + ("" if variant == "tuned" else f"_{variant.upper()}")


def _ended(pid: int, timeout_s: float) -> bool:
    """Whether a process, anybody's child, ends within a time."""
    try:
        end = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([end], [], [], timeout_s)[0])
    finally:
        os.close(end)


def free_ports(count: int) -> list[int]:
    """Free TCP ports of 127.0.0.1, below the range that outgoing connections are given."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
