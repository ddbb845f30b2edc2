"""The publisher as a role against a router stand-in over real loopback sessions."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.publisher.standin import Standin, make_certificate, serving
from wtp.clock import Clock, ClockDomain
from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.errors import (
    BrokerError,
    BrokerUnavailable,
    ConnectionFailed,
    MediaError,
    Refused,
    UsageError,
)
from wtp.publisher import inputs
from wtp.publisher.active import refusal
from wtp.publisher.choice import ChatInput, DataInput, Input, VideoInput
from wtp.publisher.run import Publisher
from wtp.transport.certs import Certificate
from wtp.transport.trust import Trust
from wtp.wire import control

SMALL = VideoInput("testsrc", size=(64, 48), fps=60)


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


def settings_for(url: str, certificate: Certificate, **values: Any) -> Settings:
    return override(
        Settings(),
        {"router.url": url, "router.certs": str(certificate.cert_path.parent), **values},
    )


def nothing(info: dict[str, Any]) -> None:
    """Ready is not looked at."""


def assert_balanced(snapshot: dict[str, Any]) -> None:
    for name, track in snapshot["tracks"].items():
        dropped = sum(track["dropped"].values())
        assert track["offered"] == track["delivered"] + dropped, (name, track)
        assert track["in_flight"] == 0, (name, track)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Makes standard input a pipe; returns the end to write to."""
    reading, writing = os.pipe()
    monkeypatch.setattr(inputs, "STDIN", reading)
    closed: list[int] = []

    def take() -> int:
        closed.append(reading)
        return writing

    return take


async def test_test_pattern_arrives_whole(
    url: str, home: Standin, certificate: Certificate
) -> None:
    infos: list[dict[str, Any]] = []
    publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam", count=70)
    await publisher.run(infos.append)
    objects = home.objects["video"]
    assert [obj.seq for obj in objects] == list(range(1, 71))
    assert [obj.group for obj in objects if obj.key] == [1, 2]
    assert home.publishes[0].content_type == "video/h264"
    assert infos[0]["tracks"]["video"]["kind"] == "video"
    stamps = [(obj.capture_us, obj.encode_us, obj.send_us) for obj in objects]
    assert all(c and e and s and c <= e <= s for c, e, s in stamps)
    assert abs(home.clock.now_us() - (stamps[-1][0] or 0)) < 5_000_000
    track = publisher.snapshot()["tracks"]["video"]
    assert (track["offered"], track["delivered"]) == (70, 70)
    assert_balanced(publisher.snapshot())
    assert home.guests[0].offset is not None
    assert home.guests[0].offset.error_us == 0
    assert home.guests[0].over == (0, "done")


async def test_jpeg_takes_one_stream_per_object(
    url: str, home: Standin, certificate: Certificate
) -> None:
    settings = settings_for(url, certificate, **{"publish.codec": "jpeg"})
    publisher = Publisher(settings, [SMALL], name="cam", count=10)
    await publisher.run(nothing)
    assert [obj.group for obj in home.objects["video"]] == list(range(1, 11))
    assert all(obj.key for obj in home.objects["video"])
    assert len(home.guests[0].ends) >= 10
    assert_balanced(publisher.snapshot())


async def test_real_footage_is_accounted_for(
    url: str, home: Standin, certificate: Certificate, footage: Callable[[str], Path]
) -> None:
    clip = VideoInput(str(footage("bigbuckbunny.mp4")), size=(160, 90))
    publisher = Publisher(settings_for(url, certificate), [clip], name="cam")
    await publisher.run(nothing)
    track = publisher.snapshot()["tracks"]["video"]
    assert track["offered"] == track["delivered"] == 132
    captured = [obj.capture_us or 0 for obj in home.objects["video"]]
    gaps = {b - a for a, b in itertools.pairwise(captured)}
    assert gaps == {40_000}


@pytest.mark.device("opencv")
async def test_a_film_behind_the_camera_interface(
    url: str, home: Standin, certificate: Certificate, footage: Callable[[str], Path]
) -> None:
    camera = VideoInput(str(footage("bigbuckbunny.mp4")), camera=True, size=(160, 90))
    publisher = Publisher(settings_for(url, certificate), [camera], name="cam", count=12)
    await publisher.run(nothing)
    assert home.seqs("video") == list(range(1, 13))
    assert_balanced(publisher.snapshot())


async def test_data_file_arrives_in_order_and_is_receipted(
    url: str, home: Standin, certificate: Certificate, tmp_path: Path
) -> None:
    content = os.urandom(3_000_000)
    path = tmp_path / "blob"
    path.write_bytes(content)
    publisher = Publisher(settings_for(url, certificate), [DataInput(str(path))], name="p")
    await publisher.run(nothing)
    assert b"".join(obj.payload for obj in home.objects["data"]) == content
    assert home.seqs("data") == list(range(1, 47))
    assert_balanced(publisher.snapshot())


async def test_chat_from_a_pipe_ends_after_all_receipts(
    url: str, home: Standin, certificate: Certificate, stdin: Callable[[], int]
) -> None:
    writing = stdin()
    long = b"x" * (16 * 1024 + 1)
    os.write(writing, b"hello\n\ncaf\xc3\xa9\r\n\xff\xfe\n" + long + b"\nlast")
    os.close(writing)
    publisher = Publisher(settings_for(url, certificate), [ChatInput()], name="ann")
    await publisher.run(nothing)
    assert [obj.payload.decode() for obj in home.objects["chat"]] == ["hello", "café", "last"]
    assert home.objects["chat"][0].attributes == {"author": "ann"}
    assert home.publishes[0].content_type == "text/plain;charset=utf-8"
    track = publisher.snapshot()["tracks"]["chat"]
    assert track["dropped"] == {"not-text": 1, "too-large": 1}
    assert_balanced(publisher.snapshot())


async def test_two_inputs_share_one_session(
    url: str, home: Standin, certificate: Certificate, stdin: Callable[[], int]
) -> None:
    writing = stdin()
    os.write(writing, b"hi\n")
    publisher = Publisher(settings_for(url, certificate), [SMALL, SMALL, ChatInput()], name="cam")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(publisher.run(nothing))
        await home.until(lambda: home.seqs("chat") and len(home.seqs("video-2")) > 3)
        publisher.stop()
        await running
    os.close(writing)
    assert len(home.hellos) == 1
    assert {p.track for p in home.publishes} == {"video", "video-2", "chat"}
    assert_balanced(publisher.snapshot())


async def test_every_run_counts_from_one(
    url: str, home: Standin, certificate: Certificate, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nb\nc\n")
    for _ in range(2):
        publisher = Publisher(
            settings_for(url, certificate), [DataInput(str(path), lines=True)], name="p"
        )
        await publisher.run(nothing)
        home.last_seq.clear()
    assert home.seqs("data") == [1, 2, 3, 1, 2, 3]
    first, second = (hello.instance for hello in home.hellos)
    assert first != second


async def test_a_broker_that_has_more_than_was_sent_ends_the_run(
    url: str, home: Standin, certificate: Certificate, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nb\nc\n")
    home.last_seq["data"] = 41
    publisher = Publisher(
        settings_for(url, certificate), [DataInput(str(path), lines=True)], name="p"
    )
    with pytest.raises(Refused, match="more of data than this run has sent"):
        await publisher.run(nothing)


async def test_what_is_refused_for_good_is_said_once_and_ends_in_an_error(
    url: str,
    home: Standin,
    certificate: Certificate,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nbad\nc\nbad\ne\n")
    home.reject = {b"bad"}
    publisher = Publisher(
        settings_for(url, certificate), [DataInput(str(path), lines=True)], name="p"
    )
    with pytest.raises(BrokerError, match="2 objects of data were refused") as caught:
        await publisher.run(nothing)
    assert caught.value.exit_code == 1
    assert home.seqs("data") == [1, 2, 3, 4, 5]
    assert [told.seq for told in home.confirmed] == [2, 4]
    track = publisher.snapshot()["tracks"]["data"]
    assert track["delivered"] == 3
    assert track["refused"] == 2
    assert track["dropped"] == {"too-large": 2}
    assert_balanced(publisher.snapshot())
    assert [r.message for r in caplog.records if "refused" in r.message] == [
        "Object 2 of data was refused: It is too large."
    ]


async def test_it_is_back_soon_after_the_router(
    home: Standin, certificate: Certificate, stdin: Callable[[], int]
) -> None:
    writing = stdin()
    loop = asyncio.get_running_loop()
    home.receipts = False
    async with serving(home, certificate) as (server, url):
        port = server.address[1]
        publisher = Publisher(settings_for(url, certificate), [SMALL, ChatInput()], name="cam")
        running = asyncio.create_task(publisher.run(nothing))
        os.write(writing, b"one\ntwo\n")
        await home.until(lambda: len(home.seqs("chat")) == 2 and home.seqs("video"))
        home.last_seq["chat"] = 1
    os.write(writing, b"three\n")
    home.objects.clear()
    home.receipts = True
    began = loop.time()
    async with serving(home, certificate, port):
        await home.until(lambda: len(home.seqs("chat")) == 2 and len(home.seqs("video")) > 5)
        assert loop.time() - began < 20.0
        assert home.objects["video"][0].key
        os.close(writing)
        publisher.stop()
        await running
    assert [(o.seq, o.payload) for o in home.objects["chat"]] == [(2, b"two"), (3, b"three")]
    assert len({hello.instance for hello in home.hellos}) == 1
    snapshot = publisher.snapshot()
    assert snapshot["reconnects"] == 1
    assert snapshot["tracks"]["chat"]["delivered"] == 3
    assert_balanced(snapshot)


async def test_a_silent_router_is_left(home: Standin, certificate: Certificate) -> None:
    async with serving(home, certificate) as (_, url):
        publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam")
        running = asyncio.create_task(publisher.run(nothing))
        await home.until(lambda: home.seqs("video"))
        home.guests[0].deaf = True
        await home.until(lambda: len(home.guests) == 2 and len(home.guests[1].received) == 1)
        assert home.guests[0].over is not None
        assert home.guests[0].over[1] == "the router is silent"
        publisher.stop()
        await running
    assert_balanced(publisher.snapshot())


async def test_drain_flushes_and_comes_back(home: Standin, certificate: Certificate) -> None:
    async with serving(home, certificate) as (_, url):
        publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam")
        running = asyncio.create_task(publisher.run(nothing))
        await home.until(lambda: home.seqs("video"))
        home.guests[0].tell(control.Drain("restart"))
        await home.until(lambda: len(home.guests) == 2 and home.guests[1].received)
        assert home.guests[0].flushes
        publisher.stop()
        await running
    snapshot = publisher.snapshot()
    assert "session-lost" not in snapshot["tracks"]["video"]["dropped"]
    assert_balanced(snapshot)


async def test_a_taken_track_names_both_options(
    url: str, home: Standin, certificate: Certificate
) -> None:
    home.refuse["video"] = "name-taken"
    publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam")
    with pytest.raises(Refused, match=r"--name.*--track") as caught:
        await publisher.run(nothing)
    assert caught.value.exit_code == 4


def test_a_refusal_keeps_the_routers_hint_apart() -> None:
    taken = control.Error("name-taken", "Track a is taken. Choose another --name.", 1)
    assert (refusal(taken).message, refusal(taken).hint) == (
        "Track a is taken.",
        "Choose another --name.",
    )
    bare = refusal(control.Error("name-taken", "Track a is taken.", 1))
    assert "--track" in bare.hint
    assert refusal(control.Error("no-room", "No room", 1)).message == "No room"
    assert refusal(control.Error("broker-unavailable", "Down.", 1)).exit_code == 3


async def test_no_broker_behind_the_router(
    url: str, home: Standin, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wtp.publisher.connection.START_S", 0.5)
    monkeypatch.setattr("wtp.publisher.connection.TAKEN_S", 0.7)
    home.refuse["video"] = "broker-unavailable"
    publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam")
    with pytest.raises(BrokerUnavailable, match="video"):
        await publisher.run(nothing)


async def test_no_router_fails_in_time_with_what_to_do(
    certificate: Certificate, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wtp.publisher.connection.START_S", 0.4)
    url = f"https://127.0.0.1:{free_port()}/wt"
    publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam")
    with pytest.raises(ConnectionFailed, match="wtp router"):
        await publisher.run(nothing)


async def test_blocked_udp_says_so(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wtp.publisher.connection.START_S", 0.4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{hole.getsockname()[1]}/wt"
        publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam")
        with pytest.raises(ConnectionFailed, match=r"No QUIC answer.*UDP port") as caught:
            await asyncio.wait_for(publisher.run(nothing), 60)
    assert caught.value.exit_code == 3


async def test_a_router_that_never_greets(
    url: str, home: Standin, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wtp.publisher.connection.START_S", 0.4)
    home.greet = False
    publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam")
    with pytest.raises(ConnectionFailed, match="does not answer"):
        await asyncio.wait_for(publisher.run(nothing), 60)


async def test_a_router_on_another_machine_gets_an_offset(
    url: str, home: Standin, certificate: Certificate
) -> None:
    home.clock = Clock(ClockDomain("elsewhere", home.clock.domain.anchor_us + 3_600_000_000))
    publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam", count=5)
    await publisher.run(nothing)
    offset = home.guests[0].offset
    assert offset is not None
    assert offset.error_us < 100_000
    moved_us = home.clock.now_us() - (home.objects["video"][-1].capture_us or 0) - offset.offset_us
    assert 0 <= moved_us < 5_000_000
    clock = publisher.snapshot()["clock"]
    assert clock["state"] == "measured"
    assert clock["resyncs"] == 0


async def test_wait_waits_for_the_router(
    home: Standin,
    certificate: Certificate,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wtp.publisher.connection.START_S", 0.1)
    port = free_port()
    url = f"https://127.0.0.1:{port}/wt"
    publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam", count=3, wait=True)
    running = asyncio.create_task(publisher.run(nothing))
    await asyncio.sleep(0.5)
    assert not running.done()
    async with serving(home, certificate, port):
        await asyncio.wait_for(running, 60)
    assert len(home.seqs("video")) == 3


async def test_a_wrong_certificate_hash_fails_at_once(url: str, certificate: Certificate) -> None:
    publisher = Publisher(
        settings_for(url, certificate), [SMALL], name="cam", trust=Trust(cert_hash="ab" * 32)
    )
    with pytest.raises(ConnectionFailed, match="--cert-hash"):
        await asyncio.wait_for(publisher.run(nothing), 60)


async def test_an_unknown_certificate_on_loopback_is_refused(
    url: str, certificate: Certificate, tmp_path: Path
) -> None:
    settings = override(settings_for(url, certificate), {"router.certs": str(tmp_path)})
    with pytest.raises(ConnectionFailed, match="--cert-hash"):
        await Publisher(settings, [SMALL], name="cam").run(nothing)


async def test_stop_before_the_first_session_ends(
    certificate: Certificate, free_port: Callable[[], int]
) -> None:
    url = f"https://127.0.0.1:{free_port()}/wt"
    publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam", wait=True)
    running = asyncio.create_task(publisher.run(nothing))
    await asyncio.sleep(0.2)
    publisher.stop()
    await asyncio.wait_for(running, 60)


async def test_duration_ends_it(url: str, home: Standin, certificate: Certificate) -> None:
    publisher = Publisher(settings_for(url, certificate), [SMALL], name="cam", duration_s=0.5)
    await asyncio.wait_for(publisher.run(nothing), 60)
    assert 1 <= len(home.seqs("video")) <= 31
    assert_balanced(publisher.snapshot())


async def test_what_has_no_receipt_at_the_end_is_an_error(
    url: str,
    home: Standin,
    certificate: Certificate,
    stdin: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wtp.publisher.run.FLUSH_S", 0.2)
    home.receipts = False
    writing = stdin()
    os.write(writing, b"one\n")
    publisher = Publisher(settings_for(url, certificate), [ChatInput()], duration_s=0.3)
    with pytest.raises(ConnectionFailed, match="1 of 1 objects of chat"):
        await asyncio.wait_for(publisher.run(nothing), 60)
    os.close(writing)
    assert publisher.snapshot()["tracks"]["chat"]["dropped"] == {"session-lost": 1}


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (VideoInput("/no/such.mp4"), MediaError),
        (VideoInput("/no/such", camera=True), MediaError),
        (DataInput("/no/such"), MediaError),
        (DataInput("/"), MediaError),
    ],
)
async def test_inputs_that_cannot_be_opened(
    item: Input, error: type[Exception], certificate: Certificate
) -> None:
    publisher = Publisher(settings_for("https://127.0.0.1:1/wt", certificate), [item])
    with pytest.raises(error):
        await publisher.run(nothing)


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="nothing to publish"):
        Publisher(Settings(), [])
    with pytest.raises(UsageError, match="same name"):
        Publisher(Settings(), [VideoInput("testsrc", track="a"), VideoInput("b", track="a")])
    with pytest.raises(UsageError, match="Standard input"):
        Publisher(Settings(), [ChatInput(), DataInput("-")])
    with pytest.raises(UsageError, match="publisher name"):
        Publisher(Settings(), [SMALL], name="a b")
