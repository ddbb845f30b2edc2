"""What the demo starts: its folder, its ports, its profile, and the words of each process."""

from __future__ import annotations

import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.errors import StorageError
from wtp.transport.certs import ensure_certificate

HOST = "127.0.0.1"
FOLDER_PREFIX = "wtp-demo-"
ROUTER_PORT, BROKER_PORT, HTTP_PORT = 4433, 6650, 8080
PORT_ATTEMPTS = 20
PUBLISHER_NAME = "demo"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo shows and for how long.

    Attributes:
        source: `testsrc`, or a file or URL to publish.
        camera: Camera to publish instead; None: none.
        loop: Begin a file again when it has ended.
        duration_s: Seconds from the moment everything runs; None: until it is stopped.
        keep: Leave the folder with the messages behind.
        processor: Watch the pictures for movements, too, from topic to topic.
    """

    source: str = "testsrc"
    camera: str | None = None
    loop: bool = True
    duration_s: float | None = None
    keep: bool = False
    processor: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """A demo that can start.

    Attributes:
        folder: Temporary folder of everything it writes.
        settings: What its processes run with.
        connect: Environment variables with which commands in another terminal reach it.
        args: Words after `wtp` by process.
        taken: Usual ports that were taken.
    """

    folder: Path
    settings: Settings
    connect: dict[str, str]
    args: dict[str, list[str]]
    taken: list[int] = field(default_factory=list)


def prepare(settings: Settings, options: DemoOptions, *, usual: bool = True) -> Plan:
    """Make the folder with profile and certificate, and choose ports.

    Args:
        settings: The user's; addresses and folders are replaced.
        options: What to show.
        usual: Try 4433, 6650 and 8080 before free ports.

    Raises:
        StorageError: The folder for temporary files cannot be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    except OSError as error:
        raise StorageError(
            f"No folder for the demo's messages can be made: {error.strerror}.",
            hint="Make space, or let TMPDIR name a folder that can be written.",
        ) from error
    try:
        return _fill(folder, settings, options, choose_ports(usual=usual))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _fill(
    folder: Path, settings: Settings, options: DemoOptions, ports: tuple[int, int, int]
) -> Plan:
    router, broker, http = ports
    connect = {
        "WTP_ROUTER": f"https://{HOST}:{router}/wt",
        "WTP_BROKER": f"pulsar://{HOST}:{broker}",
        "WTP_ADMIN": f"http://{HOST}:{http}",
        "WTP_CERTS": str(folder / "certs"),
    }
    values: dict[str, Any] = {
        "router.listen": f"{HOST}:{router}",
        "router.url": connect["WTP_ROUTER"],
        "router.certs": connect["WTP_CERTS"],
        "broker.url": connect["WTP_BROKER"],
        "broker.admin": connect["WTP_ADMIN"],
        "broker.start": False,
        "broker.listen": f"{HOST}:{broker}",
        "broker.http": f"{HOST}:{http}",
        "broker.data": str(folder / "broker"),
        "rooms.create": True,
    }
    own = override(settings, values)
    profile = folder / "profile.yaml"
    ensure_certificate(folder / "certs")
    try:
        profile.write_text(yaml.safe_dump(own.model_dump(), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{profile} cannot be written: {error.strerror}.") from error
    wanted = zip((router, broker, http), (ROUTER_PORT, BROKER_PORT, HTTP_PORT), strict=True)
    taken = [usual for port, usual in wanted if port != usual]
    return Plan(folder, own, connect, _words(str(profile), folder, options), taken)


def _words(profile: str, folder: Path, options: DemoOptions) -> dict[str, list[str]]:
    """The command line of each process."""
    if options.camera is not None:
        source = ["--camera", options.camera]
    else:
        source = ["--source", options.source]
        if options.source != "testsrc" and options.loop:
            source.append("--loop")
    common = ["--profile", profile]
    temporary = [] if options.keep else ["--temporary", str(folder)]
    words = {
        "broker": ["broker", *common, *temporary],
        "router": ["router", *common],
        "publisher": ["publish", *common, "--wait", *source],
        "consumer": ["consume", "video", *common, "--wait"],
    }
    if options.processor:
        words["processor"] = ["processor", "video", *common, "--from-topic", "--code", "motion"]
    return words


def choose_ports(*, usual: bool = True) -> tuple[int, int, int]:
    """Ports of router (UDP and TCP), broker and HTTP: the usual ones, free ones where taken."""
    router = ROUTER_PORT if usual and _free(ROUTER_PORT, udp=True) else _any_port(udp=True)
    broker = BROKER_PORT if usual and _free(BROKER_PORT) else _any_port()
    http = HTTP_PORT if usual and _free(HTTP_PORT) else _any_port()
    return router, broker, http


def _free(port: int, *, udp: bool = False) -> bool:
    """Whether a port can be bound now, for TCP and, when asked, for UDP too."""
    kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM] if udp else [socket.SOCK_STREAM]
    for kind in kinds:
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind is socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
    return True


def _any_port(*, udp: bool = False) -> int:
    """A free port out of those the system gives away."""
    for _ in range(PORT_ATTEMPTS):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if not udp or _free(port, udp=True):
            return port
    raise StorageError("No free port was found.", hint="Stop programs that hold many ports.")
