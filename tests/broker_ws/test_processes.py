"""The commands with `--via pulsar-ws` as processes: a killed broker, refusals, Ctrl-C."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stage import Stage, stage_in, wait_for

pytestmark = pytest.mark.e2e

WS = ("--via", "pulsar-ws")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """An empty stage."""
    with stage_in(tmp_path) as stage:
        yield stage


def test_a_killed_broker_costs_no_reliable_object(stage: Stage) -> None:
    broker = stage.broker()
    reader = stage.command(
        "consume", "data", *WS, "--wait", "-o", "jsonl", "--subscription", "sub", "-n", "400"
    )
    run, lines = stage.typed(
        "publish", *WS, "--data", "-", "--lines", "--source", "testsrc", "--size", "160x120",
        "--name", "cam",
    )  # fmt: skip
    live = stage.child("consume", "video", *WS, "--wait")
    live.until(lambda one: one.get("objects", 0) > 5, "pictures")
    lines.write([f"line {n}" for n in range(200)])
    wait_for(lambda: len(reader.stdout.splitlines()) >= 50, "the first objects")
    stage.kill_hard(broker)
    mark = len(live.events())
    lines.write([f"line {n}" for n in range(200, 400)])
    before = live.last["objects"]
    stage.broker()
    live.since(mark, lambda one: one.get("objects", 0) > before + 30, "pictures after the kill")
    stdin = run.popen.stdin
    assert stdin is not None
    stdin.close()
    assert reader.wait() == 0, reader.report()
    found = {json.loads(line)["seq"] for line in reader.stdout.splitlines()}
    assert found <= set(range(1, 401))
    assert [one.seq for one in stage.read("data", expect=400)] == list(range(1, 401))
    assert run.stop() == 130
    assert "400 = 400 delivered + 0 dropped + 0 in flight" in run.stderr
    live.finish()


def test_refusals(stage: Stage) -> None:
    none = {"WTP_ADMIN": "http://127.0.0.1:9"}
    publish = stage.command("publish", *WS, "--chat", stdin=b"hi\n", env=none)
    consume = stage.command("consume", "chat", *WS, env=none)
    assert (publish.wait(), consume.wait()) == (3, 3), publish.report() + consume.report()
    stage.broker()
    wrong = {"WTP_BROKER_WEBSOCKET": f"ws://127.0.0.1:{stage.http_port}/wrong"}
    publish = stage.command("publish", *WS, "--chat", stdin=b"hi\n", env=wrong)
    trust = stage.command("publish", *WS, "--chat", "--insecure", stdin=b"hi\n")
    stage.command("publish", *WS, "--chat", stdin=b"hi\n").wait()
    consume = stage.command("consume", "chat", *WS, env=wrong)
    assert (publish.wait(), trust.wait(), consume.wait()) == (4, 2, 1), consume.report()
    for process in (publish, trust, consume):
        assert "Traceback" not in process.stderr
        assert "hint: " in process.stderr
    first = stage.child("consume", "chat", *WS, "--subscription", "sub")
    first.event("ready")
    second = stage.command("consume", "chat", *WS, "--subscription", "sub")
    assert second.wait() == 1
    assert "'sub'" in second.stderr
    assert "--type shared" in second.stderr
    first.finish()


def test_ctrl_c_is_clean(stage: Stage) -> None:
    stage.broker()
    publish = stage.command("publish", *WS, "--source", "testsrc", "--size", "160x120")
    consume = stage.command("consume", "video", *WS, "--wait")
    wait_for(lambda: "Reading" in consume.stderr, lambda: consume.report())
    for process in (consume, publish):
        assert process.stop(signal.SIGINT) == 130, process.report()
        assert "Traceback" not in process.stderr
    assert "0 in flight" in publish.stderr


def test_saved_objects_are_byte_for_byte(stage: Stage) -> None:
    stage.broker()
    data = bytes(range(256)) * 2000
    (stage.folder / "in.bin").write_bytes(data)
    assert stage.command("publish", *WS, "--data", "in.bin", "--chunk", "100KiB").wait() == 0
    raw = stage.command("consume", "data", *WS, "--from", "earliest", "-n", "5", "--raw", "out.bin")
    assert raw.wait() == 0, raw.report()
    assert (stage.folder / "out.bin").read_bytes() == data
    native = stage.command(
        "consume", "data", "--from", "earliest", "-n", "5", "--raw", "native.bin"
    )
    assert native.wait() == 0, native.report()
    assert (stage.folder / "native.bin").read_bytes() == data
