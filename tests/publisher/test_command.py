"""`wtp publish` as a process against the router stand-in: exit codes, signals, pipes, output."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import wave
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest

from tests.publisher.standin import Standin, make_certificate, serving
from wtp.cli.group import invoke
from wtp.transport.certs import Certificate

pytestmark = pytest.mark.e2e

Publish = Callable[..., Coroutine[None, None, Process]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def home() -> Standin:
    return Standin()


@pytest.fixture
async def url(home: Standin, certificate: Certificate) -> AsyncIterator[str]:
    async with serving(home, certificate) as (_, url):
        yield url


@pytest.fixture
async def publish(clean_home: Path, certificate: Certificate) -> AsyncIterator[Publish]:
    """Starts `wtp publish ...`; kills what is left at the end."""
    started: list[Process] = []
    environment = {**os.environ, "WTP_CERTS": str(certificate.cert_path.parent)}

    async def start(*words: str, stdin: int | None = DEVNULL) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wtp", "publish", *words,
            stdin=stdin, stdout=PIPE, stderr=PIPE, env=environment,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


SMALL = ("--source", "testsrc", "--size", "64x48", "--name", "cam")


async def test_ctrl_c_flushes_and_exits_130(url: str, home: Standin, publish: Publish) -> None:
    process = await publish(*SMALL, "--router", url)
    await home.until(lambda: len(home.seqs("video")) > 5)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    assert out == b""
    assert b"0 dropped + 0 in flight" in err
    assert b"Traceback" not in err
    assert home.guests[0].flushes


async def test_sigterm_exits_0(url: str, home: Standin, publish: Publish) -> None:
    process = await publish(*SMALL, "--router", url)
    await home.until(lambda: home.seqs("video"))
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0


async def test_chat_through_a_pipe(url: str, home: Standin, publish: Publish) -> None:
    process = await publish("--chat", "--name", "ann", "--router", url, stdin=PIPE)
    _, err = await asyncio.wait_for(process.communicate(b"one\n\xff\ntwo"), 60)
    assert process.returncode == 0
    assert [o.payload for o in home.objects["chat"]] == [b"one", b"two"]
    assert b"Line 2 is not UTF-8 text" in err
    assert b"3 = 2 delivered + 1 dropped" in err


async def test_chat_typed_at_a_terminal(url: str, home: Standin, publish: Publish) -> None:
    master, slave = os.openpty()
    process = await publish("--chat", "--name", "ann", "--router", url, stdin=slave)
    os.close(slave)
    os.write(master, b"hello\n")
    await home.until(lambda: home.seqs("chat"))
    os.write(master, b"again\n\x04")
    _, err = await asyncio.wait_for(process.communicate(), 60)
    os.close(master)
    assert process.returncode == 0
    assert [o.payload for o in home.objects["chat"]] == [b"hello", b"again"]
    assert b"Ctrl-D ends" in err
    assert b"2 = 2 delivered" in err


async def test_chat_from_a_redirected_file(
    url: str, home: Standin, publish: Publish, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n")
    with path.open("rb") as file:
        process = await publish("--chat", "--router", url, "-n", "2", stdin=file.fileno())
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert [o.payload for o in home.objects["chat"]] == [b"one", b"two"]


async def test_back_pressure_reaches_whoever_writes(
    url: str, home: Standin, publish: Publish
) -> None:
    """Without receipts the publisher stops reading, so the writer blocks at a bounded amount."""
    home.receipts = False
    process = await publish("--data", "-", "--name", "p", "--router", url, stdin=PIPE)
    assert process.stdin is not None
    process.stdin.transport.set_write_buffer_limits(high=0)
    process.stdin.write(bytes(64 * 1024))
    await home.until(lambda: home.seqs("data"))
    written = 0
    try:
        while written < 64 * 1024 * 1024:
            process.stdin.write(bytes(64 * 1024))
            written += 64 * 1024
            await asyncio.wait_for(process.stdin.drain(), 1.5)
    except TimeoutError:
        pass
    assert 1024 * 1024 < written < 8 * 1024 * 1024
    process.stdin.transport.abort()


async def test_a_child_speaks_json_and_ends_with_its_parent(
    url: str, home: Standin, publish: Publish
) -> None:
    process = await publish(*SMALL, "--router", url, "--child", stdin=PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    assert ready["event"] == "ready"
    assert ready["tracks"]["video"]["content_type"] == "video/h264"
    status = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    assert status["event"] == "status"
    process.stdin.close()
    rest = (await asyncio.wait_for(process.stdout.read(), 60)).splitlines()
    summary = json.loads(rest[-1])
    await process.wait()
    assert summary["event"] == "summary"
    track = summary["tracks"]["video"]
    assert track["offered"] == track["delivered"] == len(home.seqs("video"))


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ([], 2, "--camera [ID], --mic [ID], --screen [N], --source testsrc|PATH|URL, --chat"),
        (["--source", "/no/such.mp4"], 1, "/no/such.mp4"),
        (["--camera"], 1, "no camera"),
        (["--source", "testsrc", "--codec", "vp7"], 2, "vp7"),
        (["--source", "testsrc", "--size", "big"], 2, "size"),
        (["--source", "testsrc", "--cert-hash", "12"], 2, "64 hexadecimal"),
        (["--source", "testsrc", "--insecure", "--cert-hash", "ab" * 32], 2, "exclude"),
        (["--chat", "--child"], 2, "--child"),
        (["--source", "testsrc", "--track", "a", "--track", "b"], 2, "--track"),
        (["--data", "x", "--chunk", "2MiB"], 2, "chunk"),
        (["--source", "testsrc", "--profile", "nope"], 2, "nope"),
    ],
)
def test_bad_input(
    clean_home: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, part: str
) -> None:
    assert invoke(["publish", *words]) == code
    out, err = capsys.readouterr()
    assert part in err
    assert out == ""


async def test_no_router_exits_3_after_about_5_s(
    publish: Publish, free_port: Callable[[], int]
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    process = await publish(*SMALL, "--router", f"https://127.0.0.1:{free_port()}/wt")
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3
    assert b"Start the router with `wtp router`" in err
    assert err.count(b"Nothing listens") == 1
    assert 4 < loop.time() - began < 30


async def test_a_sound_file_is_heard_and_without_sound_there_is_nothing(
    url: str, home: Standin, publish: Publish, tmp_path: Path
) -> None:
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))
    process = await publish("--source", str(path), "--router", url)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err
    assert [track for track, objects in home.objects.items() if objects] == ["audio"]
    process = await publish("--source", str(path), "--no-sound", "--router", url)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"no video" in err


async def test_a_taken_name_exits_4(url: str, home: Standin, publish: Publish) -> None:
    home.refuse["video"] = "name-taken"
    process = await publish(*SMALL, "--router", url)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 4
    assert b"--name" in err
    assert b"--track" in err


@pytest.mark.parametrize("words", [["--chat"], ["--data", "-"], ["--source", "-"]])
def test_a_closed_standard_input_is_said(
    words: list[str],
    clean_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert invoke(["publish", *words]) == 2
    assert capsys.readouterr().err.startswith("error: Standard input is closed.\nhint: ")
