"""`wtp topics` against a real embedded broker, and what can be told without one."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from wtp.broker.embedded.server import BrokerSettings, serve_broker
from wtp.cli import complete
from wtp.cli.group import invoke
from wtp.cli.options import VALUES
from wtp.cli.topics_common import full_name, parse_retention
from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.errors import UsageError
from wtp.ui.topics import retention_text

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Admin URL of a broker that runs in a thread of its own."""
    folder = tmp_path_factory.mktemp("broker")
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        server = await serve_broker(BrokerSettings(folder, port=0, http_port=0))
        try:
            assert server.http_address is not None
            url = f"http://127.0.0.1:{server.http_address[1]}"
            started.set_result((url, asyncio.get_running_loop(), stop))
            await stop.wait()
        finally:
            await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    url, loop, stop = started.result(20)
    yield url
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


@pytest.fixture
def admin(broker: str, clean_home: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> str:
    """The broker, empty."""
    monkeypatch.setenv("WTP_ADMIN", broker)
    for row in answer(run, "list"):
        answer(run, "delete", row["name"], "--yes", "--force")
    return broker


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def invoked(*args: str) -> tuple[int, str, str]:
        code = invoke(["topics", *args])
        out, err = capsys.readouterr()
        return code, out, err

    return invoked


def answer(run: Run, *args: str) -> Any:
    code, out, err = run(*args, "-o", "json")
    assert code == 0, err
    return json.loads(out)


def test_from_create_to_delete(admin: str, run: Run) -> None:
    made = answer(run, "create", "video", "--room", "lab", "--retention", "2h,1GB")
    assert made["name"] == "persistent://public/lab/video"
    assert answer(run, "create", "notes", "--room", "lab", "--partitions", "3")["partitions"] == 3
    rows = answer(run, "list", "--room", "lab")
    assert [(row["topic"], row["partitions"]) for row in rows] == [("notes", 3), ("video", 0)]
    assert [row["name"] for row in answer(run, "list")] == [row["name"] for row in rows]
    about = answer(run, "describe", "video", "--room", "lab")
    assert about["retention"] == {"of": "topic", "minutes": 120, "mb": 954}
    assert about["subscriptions"] == []
    assert answer(run, "describe", "notes", "--room", "lab")["retention"]["of"] == "room"
    code, out, _ = run("describe", "public/lab/video")
    assert (code, "2 h, 954 MiB (of its topic)" in out) == (0, True)
    code, out, _ = run("list")
    assert "notes" in out
    assert answer(run, "delete", "video", "--room", "lab", "--yes")["deleted"] is True
    assert [row["topic"] for row in answer(run, "list", "--room", "lab")] == ["notes"]
    assert answer(run, "delete", "notes", "--room", "lab", "--yes")["deleted"] is True
    assert answer(run, "list", "--room", "lab") == []


def test_a_missing_topic_lists_the_known_ones(admin: str, run: Run) -> None:
    answer(run, "create", "video")
    for verb in (["describe", "vidoe"], ["delete", "vidoe", "--yes"]):
        code, out, err = run(*verb)
        assert (code, out) == (1, "")
        assert "There is no topic persistent://public/default/vidoe." in err
        assert "hint: In this room there are: video." in err


def test_created_twice(admin: str, run: Run) -> None:
    answer(run, "create", "video")
    code, _, err = run("create", "video")
    assert code == 1
    assert err.startswith("error: There is a topic persistent://public/default/video already.\n")
    assert "hint: " in err


@pytest.mark.parametrize("name", ["a b", "ü", "public/lab/a b", "x" * 65])
def test_names_outside_the_rule_are_not_created(admin: str, run: Run, name: str) -> None:
    code, _, err = run("create", name)
    assert code == 2
    assert "topic name" in err
    assert "A-Z a-z 0-9 . _ -" in err
    assert answer(run, "list") == []


def test_a_missing_room(admin: str, run: Run) -> None:
    code, _, err = run("list", "--room", "nowhere")
    assert code == 1
    assert "hint: " in err


def test_delete_asks_or_refuses(admin: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(run, "create", "chat")
    code, _, err = run("delete", "chat")
    assert (code, "--yes" in err) == (2, True)
    monkeypatch.setattr("wtp.cli.topics_common.sys.stdin", None)
    code, _, err = run("delete", "chat")
    assert (code, "--yes" in err) == (2, True)
    monkeypatch.setattr("wtp.cli.topics_common.sys.stdin", SimpleNamespace(isatty=lambda: True))
    for agreed, exit_code in ((False, 2), (True, 0)):
        monkeypatch.setattr("typer.confirm", lambda *_, agreed=agreed, **__: agreed)
        assert run("delete", "chat")[0] == exit_code
    assert answer(run, "list") == []


def test_nothing_answers(run: Run, clean_home: Path, free_port: Callable[[], int]) -> None:
    code, _, err = run("list", "--admin", f"http://127.0.0.1:{free_port()}")
    assert code == 3
    assert "hint: " in err
    assert "Traceback" not in err


def test_completion_of_topics_and_rooms(admin: str, run: Run) -> None:
    answer(run, "create", "video", "--room", "lab")
    answer(run, "create", "notes", "--room", "lab", "--partitions", "2")
    ctx: Any = SimpleNamespace(meta={VALUES: {"rooms.room": "lab"}})
    assert complete.topics(ctx, "") == ["notes", "video"]
    assert complete.topics(ctx, "v") == ["video"]
    assert "lab" in complete.rooms(ctx, "l")


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that accepts and then drips one byte after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer:
            peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n[")
            while not ended.wait(0.1):
                try:
                    peer.sendall(b" ")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    ended.set()
    listener.close()
    thread.join()


def test_completion_never_waits_longer_than_its_patience(silent: str) -> None:
    start = time.perf_counter()
    assert complete.ask(silent) == []
    assert time.perf_counter() - start < complete.PATIENCE_S + 5.0
    assert complete.ask("ftp://x") == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("video", "persistent://public/lab/video"),
        ("notes", "persistent://public/lab/notes"),
        ("public/other/x", "persistent://public/other/x"),
        ("non-persistent://a/b/c", "non-persistent://a/b/c"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert str(full_name(override(Settings(), {"rooms.room": "lab"}), text)) == name


def test_templates_count() -> None:
    kinds = {"video": "non-persistent://media/{room}/live-{kind}"}
    settings = override(Settings(), {"topics.kinds": kinds})
    assert str(full_name(settings, "video")) == "non-persistent://media/default/live-video"
    with pytest.raises(UsageError):
        full_name(override(Settings(), {"rooms.room": "video"}), "chat")


@pytest.mark.parametrize(
    ("text", "kept"),
    [("24h", (1440, -1)), ("1GB", (-1, 954)), ("24h,1GiB", (1440, 1024)), ("0s,0b", (0, 0))],
)
def test_retention(text: str, kept: tuple[int, int]) -> None:
    assert parse_retention(text) == kept


@pytest.mark.parametrize("text", ["", "soon", "1h,", "1h;1GB", "5", "24h,2"])
def test_no_retention(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_retention(text)


def test_retention_in_words() -> None:
    words = retention_text({"of": "room", "minutes": 90, "mb": -1})
    assert words == "1.5 h, no limit (of its room)"
    assert retention_text({"of": "topic", "minutes": 0, "mb": 0}).startswith("none")
    assert retention_text(None) == "unknown"
