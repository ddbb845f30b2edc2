"""Child processes: events, errors, the life line, restarts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wtp.children import Child, Kept, State, error_event, error_from
from wtp.children.broker import answers, broker_args, ensure_broker, host_port
from wtp.children.child import child_environment
from wtp.config.address import is_loopback, join_address
from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.errors import BrokerUnavailable, ConnectionFailed, StorageError, UsageError, WtpError

PRELUDE = """
import json, os, sys, time, signal
def say(**event):
    os.write(1, (json.dumps(event) + "\\n").encode())
def until_end():
    while os.read(0, 100):
        pass
"""

Make = Callable[..., Child]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(body: str, **more: Any) -> Child:
        script = tmp_path / f"fake{len(list(tmp_path.iterdir()))}.py"
        script.write_text(PRELUDE + textwrap.dedent(body), encoding="utf-8")
        return Child(["fake"], program=[sys.executable, str(script)], **more)

    return build


OBEDIENT = """
assert sys.argv[1:] == ["fake", "--child"], sys.argv
say(event="ready", port=7)
say(event="status", n=1)
until_end()
say(event="summary", n=2)
"""


async def test_ready_status_and_summary(make: Make) -> None:
    events: list[str] = []
    seen = asyncio.Event()

    def note(event: dict[str, Any]) -> None:
        events.append(event["event"])
        if event["event"] == "status":
            seen.set()

    async with make(OBEDIENT, on_event=note) as child:
        assert await child.ready == {"port": 7}
        await seen.wait()
        assert child.last == {"n": 1}
        assert child.running
        assert child.pid > 0
    assert child.summary == {"n": 2}
    assert child.returncode == 0
    assert child.exited
    assert events == ["ready", "status", "summary"]


async def test_an_error_event_becomes_the_error(make: Make) -> None:
    event = error_event(ConnectionFailed("No router.", hint="Start one.", code="no-answer"))
    child = await make(f"say(**{event!r}); sys.exit(3)").start()
    with pytest.raises(ConnectionFailed) as caught:
        await child.ready
    assert (caught.value.code, caught.value.hint) == ("no-answer", "Start one.")
    assert await child.wait() == 3


async def test_an_error_on_stderr_becomes_the_error(make: Make) -> None:
    body = """
    print("error: There is no profile 'x'.", file=sys.stderr)
    print("hint: Known: local", file=sys.stderr)
    sys.exit(2)
    """
    child = await make(body).start()
    with pytest.raises(WtpError) as caught:
        await child.ready
    assert caught.value.message == "There is no profile 'x'."
    assert caught.value.hint == "Known: local"
    assert caught.value.exit_code == 2
    await child.wait()


async def test_a_silent_death_gives_a_sentence_with_the_last_words(make: Make) -> None:
    child = await make("print('oh no', file=sys.stderr); os.kill(os.getpid(), 6)").start()
    with pytest.raises(WtpError, match=r"fake process was killed by SIGABRT\..*oh no"):
        await child.ready
    await child.wait()


async def test_garbage_and_endless_lines_are_skipped(make: Make) -> None:
    body = """
    os.write(1, b"no json\\n[1]\\n\\xff\\xfe\\n")
    os.write(1, b"x" * (3 << 20) + b"\\n")
    os.write(2, b"y" * (3 << 20) + b"\\nlast\\n")
    say(event="ready")
    until_end()
    """
    async with make(body) as child:
        assert await child.ready == {}
    assert child.stderr_tail.endswith("last")
    assert len(child.stderr_tail) < 20_000


async def test_a_deaf_child_is_killed(make: Make) -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say(event='ready'); time.sleep(60)"
    child = await make(body).start()
    await child.ready
    await child.stop(timeout=0.1)
    assert child.returncode == -signal.SIGKILL


async def test_a_cancelled_stop_leaves_nothing_running(make: Make) -> None:
    child = await make("say(event='ready'); time.sleep(60)").start()
    await child.ready
    stopping = asyncio.create_task(child.stop(timeout=30))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert child.returncode == -signal.SIGKILL


async def test_restart(make: Make) -> None:
    child = await make(OBEDIENT).start()
    await child.ready
    first = child.pid
    child.kill()
    await child.wait()
    assert child.exited
    assert await child.restart() == {"port": 7}
    assert child.pid != first
    assert child.running
    await child.stop()
    assert child.summary == {"n": 2}


def test_errors_keep_their_class_code_and_exit_code() -> None:
    for error in (
        UsageError("a"),
        StorageError("b", code="locked"),
        BrokerUnavailable("c"),
        WtpError("d", code="odd"),
    ):
        back = error_from(error_event(error))
        assert (back.exit_code, back.code) == (error.exit_code, error.code)
    assert type(error_from(error_event(BrokerUnavailable("c")))) is BrokerUnavailable
    assert error_from({}).exit_code == 1


def test_a_child_of_a_checkout_finds_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    env = child_environment({"WTP_X": "1"})
    assert env["PYTHONPATH"].split(os.pathsep)[1:] == ["/elsewhere"]
    assert env["WTP_X"] == "1"


class States:
    """Collects the states of a kept child and lets a test wait for one."""

    def __init__(self) -> None:
        self.seen: list[State] = []
        self._new = asyncio.Event()

    def __call__(self, kept: Kept) -> None:
        self.seen.append(kept.state)
        self._new.set()

    async def until(self, state: State, count: int = 1) -> None:
        while self.seen.count(state) < count:
            self._new.clear()
            await self._new.wait()


async def test_a_kept_child_comes_back(make: Make) -> None:
    states = States()
    kept = Kept(lambda: make(OBEDIENT), "fake", states)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(kept.run())
        assert await kept.ready() == {"port": 7}
        assert kept.child is not None
        kept.child.kill()
        await states.until(State.RUNNING, 2)
        assert kept.restarts == 1
        assert kept.recovery_s is not None
        assert kept.error is not None
        assert "SIGKILL" in kept.error.message
        await kept.stop()
    assert kept.pid == 0
    assert states.seen == [State.RUNNING, State.RESTARTING, State.RUNNING, State.STOPPED]


async def test_a_child_that_never_starts_is_given_up(make: Make) -> None:
    kept = Kept(lambda: make("sys.exit(1)"), "fake")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(kept.run())
        with pytest.raises(WtpError, match="fake process ended with 1"):
            await kept.ready()
    assert kept.state is State.FAILED


async def test_a_cancelled_keeper_kills_its_child(make: Make) -> None:
    kept = Kept(lambda: make(OBEDIENT), "fake")
    running = asyncio.create_task(kept.run())
    await kept.ready()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert kept.child is not None
    assert kept.child.exited


def test_urls() -> None:
    assert host_port("pulsar://h:1", 2) == ("h", 1)
    assert host_port("pulsar://[::1]", 2) == ("::1", 2)
    assert join_address("::1", 2) == "[::1]:2"
    assert is_loopback("localhost")
    assert is_loopback("127.0.0.2")
    assert is_loopback("::1")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("example.org")
    for wrong in ("", "nonsense", "pulsar://h:99999"):
        with pytest.raises(BrokerUnavailable):
            host_port(wrong, 1)


def test_the_broker_starts_where_the_url_points() -> None:
    settings = override(
        Settings(),
        {
            "broker.url": "pulsar://localhost:7001",
            "broker.admin": "http://localhost:7002",
            "broker.data": "/d",
            "broker.fsync": "always",
        },
    )
    args = broker_args(settings)
    assert args[:5] == ["broker", "--listen", "localhost:7001", "--http", "localhost:7002"]
    assert args[5:] == ["--data", "/d", "--fsync", "always"]


async def test_no_broker_is_started_when_not_wanted_or_elsewhere() -> None:
    wanted = {"broker.start": True}
    assert await ensure_broker(Settings()) is None
    far = override(Settings(), {**wanted, "broker.url": "pulsar://192.0.2.1:6650"})
    assert await ensure_broker(far) is None
    tls = override(Settings(), {**wanted, "broker.url": "pulsar+ssl://127.0.0.1:1"})
    assert await ensure_broker(tls) is None


async def test_no_broker_is_started_where_one_answers() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"pulsar://127.0.0.1:{port}"
    settings = override(Settings(), {"broker.start": True, "broker.url": url})
    assert await ensure_broker(settings) is None
    server.close()
    await server.wait_closed()
    assert not await answers("127.0.0.1", port)
