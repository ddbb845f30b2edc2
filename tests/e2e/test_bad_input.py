"""What goes wrong for users: one error that names the thing, one hint, the right exit code.

Profiles and usage errors are tested in tests/cli and tests/core, missing libraries as such in
tests/media. Here stand whole commands, and a router under clients that misbehave.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.e2e.stage import Run, Stage, balanced, free_ports, stage_in, wait_for
from tests.processes import Process
from tests.transport.support import Recorder
from wtp.errors import ConnectionFailed, Refused
from wtp.publisher.outgoing import QUEUE, STALE_GROUP
from wtp.transport.certs import create_certificate
from wtp.transport.client import Trust, connect
from wtp.transport.server import serve
from wtp.transport.session import Session
from wtp.wire import StreamType, control

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

NO_CERT = "00" * 32

Case = tuple[list[str], int, tuple[str, ...]]
"""A command line, its exit code, and words of its error."""


def check_error(process: Process, code: int, *words: str) -> str:
    """A command ends with this code, an error that has these words, and a hint."""
    assert process.wait(60) == code, process.report()
    lines = process.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, process.report()
    assert any(line.startswith("hint: ") for line in lines), process.report()
    for word in words:
        assert word in process.stderr, f"{word!r} is missing\n{process.report()}"
    for word in ("Traceback", "Unexpected", "fault of wtp"):
        assert word not in process.stdout + process.stderr, process.report()
    return process.stderr


@contextmanager
def listening(kind: int, port: int = 0) -> Iterator[int]:
    """A socket that listens and never answers; gives its port."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        yield int(sock.getsockname()[1])


@contextmanager
def hanging_up() -> Iterator[int]:
    """A TCP server that takes every connection and ends it at once; gives its port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def work() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_inputs_that_are_none(stage: Stage) -> None:
    text, damaged = stage.folder / "notes.txt", stage.folder / "film.mp4"
    text.write_text("no film\n")
    damaged.write_bytes(struct.pack(">I4s", 24, b"ftyp") + b"isom" + os.urandom(20_000))
    cases: list[Case] = [
        (["--camera", "97"], 1, ("97", "testsrc")),
        (["--source", "missing.mp4"], 1, ("missing.mp4", "No such file")),
        (["--source", str(text)], 1, ("notes.txt", "video")),
        (["--source", str(damaged)], 1, ("film.mp4", "video")),
        (["--source", str(stage.folder)], 1, (stage.folder.name, "irectory")),
        (["--source", "testsrc", "--codec", "vp7"], 2, ("vp7", "h264")),
        (["--data", "missing.bin"], 1, ("missing.bin", "No such file")),
        ([], 2, ("--camera", "--source")),
    ]
    runs = [(stage.command("publish", *args), code, words) for args, code, words in cases]
    for run, code, words in runs:
        check_error(run, code, *words)


def test_no_opencv_no_portaudio_no_display(stage: Stage, footage: Callable[[str], Path]) -> None:
    hidden = stage.folder / "hidden"
    hidden.mkdir()
    broken = "raise ImportError('libGL.so.1: cannot open shared object file')\n"
    (hidden / "cv2.py").write_text(broken)
    (hidden / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    env = {"PYTHONPATH": str(hidden), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    camera = stage.command("publish", "--camera", str(footage("bikes.mp4")), env=env)
    window = stage.command("consume", "video", "--window", env=env)
    shown = stage.command("consume", "video", "--window", env={"DISPLAY": ":97"})
    check_error(camera, 1, "libGL", "libgl1")
    check_error(window, 1)
    check_error(shown, 1, ":97")


def test_ports_in_use(stage: Stage) -> None:
    with listening(socket.SOCK_STREAM) as tcp, listening(socket.SOCK_DGRAM) as udp:
        runs = [
            (stage.command("router", "--listen", f"127.0.0.1:{tcp}"), tcp),
            (stage.command("router", "--listen", f"127.0.0.1:{udp}"), udp),
            (stage.command("broker", "--data", "a", "--listen", f"127.0.0.1:{tcp}"), tcp),
            (stage.command("broker", "--data", "b", "--http", f"127.0.0.1:{tcp}"), tcp),
        ]
        for run, port in runs:
            check_error(run, 1, str(port), "in use")


def test_brokers_that_are_none(stage: Stage) -> None:
    [nobody] = free_ports(1)
    with hanging_up() as refusing, listening(socket.SOCK_STREAM) as silent:
        cases = {
            "http://127.0.0.1": ("http://127.0.0.1", "pulsar://HOST:6650"),
            "pulsar://": ("pulsar://",),
            "pulsar://broker.invalid:6650": ("broker.invalid",),
            f"pulsar://127.0.0.1:{nobody}": (str(nobody), "wtp broker"),
            f"pulsar://127.0.0.1:{refusing}": (str(refusing),),
            f"pulsar://127.0.0.1:{silent}": (str(silent),),
        }
        runs = [
            (stage.command("consume", "video", "--broker", url), words)
            for url, words in cases.items()
        ]
        listing = stage.command("topics", "list", "--admin", f"http://127.0.0.1:{nobody}")
        router = stage.command("router", "--broker", "http://127.0.0.1")
        for run, words in runs:
            check_error(run, 3, *words)
        check_error(router, 3, "http://127.0.0.1", "pulsar://HOST:6650")
        check_error(listing, 3, str(nobody))


def test_routers_that_are_none(stage: Stage) -> None:
    [nobody] = free_ports(1)
    common = ["publish", "--source", "testsrc", "--size", "160x120", "--cert-hash", NO_CERT]
    with listening(socket.SOCK_DGRAM) as silent:
        down = stage.command(*common, "--router", f"https://127.0.0.1:{nobody}/wt")
        blocked = stage.command(*common, "--router", f"https://127.0.0.1:{silent}/wt")
        unknown = stage.command(*common, "--router", "https://router.invalid:4433/wt")
        no_url = stage.command(*common, "--router", "127.0.0.1:4433")
        check_error(no_url, 2, "https://HOST:4433/wt")
        check_error(unknown, 3, "router.invalid")
        check_error(down, 3, str(nobody), "wtp router")
        check_error(blocked, 3, str(silent), "UDP")


async def test_an_expired_certificate(stage: Stage) -> None:
    certificate = create_certificate(stage.folder / "old", days=0)
    server = await serve("127.0.0.1", 0, certificate, Recorder)
    try:
        url = f"https://127.0.0.1:{server.address[1]}/wt"
        common = ["publish", "--source", "testsrc", "--size", "160x120", "--router", url]
        by_hash = stage.command(*common, "--cert-hash", certificate.sha256)
        by_file = stage.command(*common, "--ca", str(certificate.cert_path))
        for run in (by_hash, by_file):
            await asyncio.to_thread(check_error, run, 3, "expired", "wtp certs create")
    finally:
        await server.close(0, "done")


def test_two_brokers_on_one_folder(stage: Stage) -> None:
    first = stage.broker()
    other = [f"127.0.0.1:{port}" for port in free_ports(2)]
    second = stage.command("broker", "--listen", other[0], "--http", other[1])
    check_error(second, 1, str(stage.home / "broker"), str(first.pid))
    assert first.popen.poll() is None


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system in memory."""
    if os.geteuid() != 0:
        pytest.skip("root's rights are needed to mount a small disk")
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("root's rights are needed to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_read_only_data_folder(stage: Stage) -> None:
    with mounted(stage.folder / "disk", "size=1m,ro") as disk:
        broker = stage.command("broker", "--data", str(disk / "broker"))
        save = stage.command("consume", "chat", "--save", str(disk / "out"))
        certs = stage.command("certs", "create", "--certs", str(disk / "certs"))
        check_error(broker, 1, str(disk), "--data")
        check_error(save, 1, str(disk))
        check_error(certs, 1, str(disk))


def test_a_full_data_folder(stage: Stage) -> None:
    with mounted(stage.folder / "disk", "size=3m") as disk:
        broker = stage.broker("--data", str(disk / "broker"))
        router = stage.router()
        blob = stage.folder / "blob"
        blob.write_bytes(os.urandom(6_000_000))
        sender = stage.child("publish", "--data", str(blob), "--name", "ann")
        wait_for(lambda: str(disk) in broker.stderr and "space" in broker.stderr.lower(),
                 lambda: f"a complaint\n{broker.report()[-3000:]}", 15.0)  # fmt: skip
        assert broker.popen.poll() is None
        receipted = wait_for(lambda: delivered(sender), "receipts")
        assert sender.popen.poll() is None
        stored = stage.read("data", expect=receipted)
        whole = b"".join(message.payload for message in stored)
        assert len(stored) >= receipted > 0
        assert blob.read_bytes().startswith(whole)
        sender.popen.send_signal(signal.SIGINT)
        assert router.stop(signal.SIGTERM) == 0, router.report()[-3000:]
        assert sender.wait(60) == 130, sender.report()[-3000:]
        stage.kill_hard(broker)


def delivered(sender: Run) -> int:
    """How many data objects a publisher has receipts for."""
    return int(sender.last.get("tracks", {}).get("data", {}).get("delivered", 0))


def test_a_damaged_segment(stage: Stage) -> None:
    broker, router = stage.broker(), stage.router()
    text = "".join(f"line {number} {'x' * 200}\n" for number in range(200))
    chat = stage.command("publish", "--chat", "--name", "ann", stdin=text.encode())
    assert chat.wait(60) == 0, chat.report()
    router.stop()
    stage.kill_hard(broker)
    segments = sorted((stage.home / "broker").rglob("*"), key=size_of)
    largest = segments[-1]
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 2)
        file.write(b"\xff" * 16)
    broker = stage.child("broker")
    info = broker.event("ready")
    assert any(str(largest) in sentence for sentence in info["damage"]), info
    left = [message.payload.decode().rstrip() for message in stage.read("chat")]
    wanted = text.splitlines()
    assert 190 <= len(left) < 200
    assert [line for line in wanted if line in set(left)] == left


def size_of(path: Path) -> int:
    """Bytes of a file; 0 for a folder."""
    return path.stat().st_size if path.is_file() else 0


# With broker and router running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage with broker, router, some chat and a publisher of pictures in room `busy`."""
    with stage_in(tmp_path_factory.mktemp("running")) as stage:
        stage.broker()
        stage.router()
        text = "".join(f"line {number}\n" for number in range(5000))
        chat = stage.command("publish", "--chat", "--name", "ann", stdin=text.encode())
        assert chat.wait(60) == 0, chat.report()
        yield stage


@pytest.fixture(scope="module")
def camera(running: Stage) -> Run:
    """A publisher that must not be troubled by others."""
    run = running.child(
        "publish", "--source", "testsrc", "--size", "160x120", "--room", "busy", "--name", "cam"
    )
    run.event("ready")
    run.until(lambda one: one["event"] == "status" and one["tracks"], "figures")
    return run


def test_rooms_and_topics_that_do_not_exist(running: Stage, camera: Run) -> None:
    cases: list[Case] = [
        (["consume", "video", "--room", "nowhere"], 1, ("nowhere", "busy", "default")),
        (["consume", "audio", "--room", "busy"], 1, ("audio", "video")),
        (["consume", "audio", "--room", "busy", "--subscription", "s"], 1, ("audio", "video")),
        (["topics", "describe", "audio"], 1, ("audio", "chat")),
        (["topics", "delete", "audio", "--yes"], 1, ("audio", "chat")),
        (["topics", "list", "--room", "nowhere"], 1, ("nowhere", "busy")),
    ]
    runs = [(running.command(*args), code, words) for args, code, words in cases]
    for run, code, words in runs:
        check_error(run, code, *words)


def test_a_wrong_certificate_hash(running: Stage) -> None:
    common = ["publish", "--source", "testsrc", "--size", "160x120"]
    wrong = running.command(*common, "--cert-hash", NO_CERT)
    short = running.command(*common, "--cert-hash", "12ab")
    untrusted = running.command(*common, env={"WTP_CERTS": str(running.folder / "nothing")})
    actual = json.loads(pinned(running))
    check_error(wrong, 3, NO_CERT, f"--cert-hash {actual}")
    check_error(short, 2, "--cert-hash")
    check_error(untrusted, 3, "--cert-hash")


def pinned(stage: Stage) -> str:
    """The hash of the router's certificate, as `wtp certs show` prints it."""
    shown = stage.command("certs", "show", "-o", "json")
    assert shown.wait(60) == 0, shown.report()
    return json.dumps(json.loads(shown.stdout)["sha256"])


def test_a_name_that_is_taken(running: Stage, camera: Run) -> None:
    second = running.command(
        "publish", "--source", "testsrc", "--size", "160x120", "--room", "busy", "--name", "cam"
    )
    check_error(second, 4, "busy/cam/video", "--name", "--track")
    assert camera.popen.poll() is None


def test_a_reader_that_goes_away(running: Stage) -> None:
    script = (
        f"{sys.executable} -m wtp consume chat --from earliest -o jsonl | head -n 1;"
        " echo ${PIPESTATUS[0]}"
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=running.folder, env={**os.environ, **running.env},
        capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    line, code = done.stdout.splitlines()
    assert json.loads(line)["text"] == "line 0"
    assert code == "0"
    for word in ("error", "Traceback", "roken pipe"):
        assert word not in done.stderr


def test_binary_data_does_not_go_to_a_terminal(running: Stage, camera: Run) -> None:
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "wtp", "consume", "video", "--room", "busy", "--raw", "-"],
        env={**os.environ, **running.env, "NO_COLOR": "1"},
        cwd=str(running.folder),
        encoding="utf-8",
        timeout=60,
    )
    try:
        terminal.expect(pexpect.EOF)
        said = terminal.before or ""
    finally:
        terminal.close()
    assert terminal.exitstatus == 2, said
    assert "error: " in said
    assert "terminal" in said
    assert "hint: " in said


class Client:
    """A session that can send anything."""

    def __init__(self, session: Session, record: Recorder) -> None:
        self.session, self.record = session, record

    @classmethod
    async def open(cls, stage: Stage, name: str, *, publish: bool = True) -> Client:
        """Connect and greet; with `publish` also announce a video track with alias 1."""
        record = Recorder()
        trust = Trust(ca=stage.home / "certs" / "wtp.crt")
        session = await connect(f"{stage.router_url}?room=attack", record, trust)
        client = cls(session, record)
        record.session = session
        data = bytes([StreamType.CONTROL]) + control.encode(control.Hello(name, "i" * 16, "0"))
        if publish:
            data += control.encode(control.Publish(1, "video", "video", "video/h264"))
        session.send(session.open_stream(), data)
        if publish:
            await record.until(
                lambda: b"published" in b"".join(map(bytes, record.streams.values()))
            )
        return client


def head(payload_bytes: int, *, alias: int = 1, kind: int = 1, seq: int = 1) -> bytes:
    """The header of a key object by the README's table."""
    return struct.pack(">BBBBIQQqIIII", 1, kind, 1, 0, alias, seq, 1, 0, 0, 0, 0, payload_bytes)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (bytes([0x02]) + os.urandom(300), False),
        (bytes([0xEE]) + b"no such stream", False),
        (bytes([0x02]) + head(1000) + b"half", True),
        (bytes([0x02]) + head(64 << 20), False),
        (bytes([0x01]) + struct.pack(">I", 1 << 30), False),
        (struct.pack(">16sI12s", b"camera-1", 1 << 31, b"video"), False),
    ],
    ids=["garbage", "unknown-type", "half-object", "oversize", "second-control", "legacy-oversize"],
)  # fmt: skip
async def test_a_bad_client_ends_only_itself(
    running: Stage, camera: Run, data: bytes, end: bool
) -> None:
    client = await Client.open(running, "bad")
    client.session.send(client.session.open_stream(), data, end)
    code, reason = await client.record.was_closed()
    assert code
    assert reason
    assert "Traceback" not in reason
    await unaffected(running, camera)


async def test_too_many_streams(running: Stage, camera: Run) -> None:
    client = await Client.open(running, "many")
    with pytest.raises((Refused, ConnectionFailed)):  # the peer's limit, or the session's end
        await open_streams(client.session, 5000)
    client.session.close(0, "done")
    await unaffected(running, camera)


async def open_streams(session: Session, count: int) -> None:
    """Open streams that carry the beginning of an object."""
    for number in range(count):
        session.send(session.open_stream(), bytes([StreamType.OBJECTS]) + head(100)[:10])
        if number % 50 == 0:
            await asyncio.sleep(0.01)


async def unaffected(stage: Stage, camera: Run) -> None:
    """The camera goes on as if nothing had happened, but for what a busy machine takes."""

    def sent() -> int:
        return int(camera.last["tracks"]["video"]["delivered"])

    before = sent()
    await asyncio.to_thread(wait_for, lambda: sent() > before + 10, "more pictures", 60.0)
    last = camera.last
    assert last["state"] == "live"
    assert last["reconnects"] == 0
    track = last["tracks"]["video"]
    assert balanced(track)
    assert set(track["dropped"]) <= {QUEUE, STALE_GROUP}, track
    assert sum(track["dropped"].values()) < track["offered"] / 10, track


def test_the_router_has_counted_them(running: Stage, camera: Run) -> None:
    stats = running.stats()
    assert balanced(stats["objects"])
    assert stats["tracks"]["busy/cam/video"]["publisher_connected"]
