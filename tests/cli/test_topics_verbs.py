"""`wtp topics`: who reads a topic, moving and deleting them, peeking, retention."""

from __future__ import annotations

import csv
import io
import json
import os
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulsar
import pytest
import typer

from tests.e2e.stage import stage_in
from wtp.cli import topics_common
from wtp.cli.group import invoke
from wtp.cli.options import VALUES
from wtp.cli.topics_peek import escaped
from wtp.cli.topics_subscriptions import parse_target
from wtp.clock import wall_us
from wtp.ui.topics import HEAD_BYTES, backlog_table, message_table, subscription_table

Run = Callable[..., tuple[int, str, str]]
Addresses = tuple[str, str]


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.pulsar)])
def addresses(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Addresses]:
    """URL and admin URL of a broker."""
    if request.param == "real":
        real = request.getfixturevalue("real_pulsar")
        yield real.url, real.admin
        return
    with stage_in(tmp_path_factory.mktemp("broker")) as stage:
        stage.broker()
        yield stage.broker_url, stage.admin_url


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def invoked(*args: str) -> tuple[int, str, str]:
        code = invoke(["topics", *args])
        out, err = capsys.readouterr()
        return code, out, err

    return invoked


@pytest.fixture
def room(addresses: Addresses, clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A room of one's own: topic `notes` and partitioned topic `parts`, ten messages in each."""
    url, admin = addresses
    name = f"admin-verbs-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("WTP_BROKER", url)
    monkeypatch.setenv("WTP_ADMIN", admin)
    monkeypatch.setenv("WTP_ROOM", name)
    space = f"public/{name}"
    rest(admin, "PUT", f"namespaces/{space}")
    rest(admin, "PUT", f"persistent/{space}/notes")
    rest(admin, "PUT", f"persistent/{space}/parts/partitions", 2)
    for topic in ("notes", "parts"):
        send(url, f"persistent://{space}/{topic}", 10)
    yield name
    rest(admin, "DELETE", f"persistent/{space}/parts/partitions?force=true")
    for topic in rest(admin, "GET", f"persistent/{space}"):
        rest(admin, "DELETE", f"{topic.replace('://', '/')}?force=true")
    rest(admin, "DELETE", f"namespaces/{space}")


def rest(admin: str, method: str, path: str, body: object = None) -> Any:
    """An admin request that has to work."""
    data = None
    if method == "PUT":
        data = b"" if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{admin}/admin/v2/{path}", data, method=method)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20.0) as found:
        text = found.read()
    return json.loads(text) if text else None


@contextmanager
def connected(url: str) -> Iterator[pulsar.Client]:
    client = pulsar.Client(url, logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull))
    try:
        yield client
    finally:
        client.close()


def send(url: str, topic: str, count: int, first: int = 0) -> None:
    with connected(url) as client:
        producer = client.create_producer(topic, batching_enabled=False)
        for number in range(first, first + count):
            producer.send(
                b"message %d" % number, properties={"colour": "blü"}, partition_key=f"k{number}"
            )
        producer.close()


def subscribe(url: str, topic: str, name: str, take: int = 0) -> None:
    """Make a subscription from the beginning and acknowledge so many messages."""
    with connected(url) as client:
        consumer = client.subscribe(
            topic, name, pulsar.ConsumerType.Shared,
            initial_position=pulsar.InitialPosition.Earliest,
        )  # fmt: skip
        for _ in range(take):
            consumer.acknowledge(consumer.receive(5000))
        consumer.close()


def answer(run: Run, *args: str) -> Any:
    code, out, err = run(*args, "-o", "json")
    assert code == 0, err
    return json.loads(out)


def backlog(run: Run, topic: str, name: str) -> int:
    return sum(row["backlog"] for row in answer(run, "backlog", topic, name))


@pytest.mark.parametrize("topic", ["notes", "parts"])
def test_who_reads_and_how_far(addresses: Addresses, room: str, run: Run, topic: str) -> None:
    name = f"persistent://public/{room}/{topic}"
    assert answer(run, "subscriptions", topic) == []
    assert run("backlog", topic)[1] == "The topic has no subscriptions.\n"
    with connected(addresses[0]) as client:
        client.subscribe(
            name, "readers", pulsar.ConsumerType.Shared,
            initial_position=pulsar.InitialPosition.Earliest,
        )  # fmt: skip
        (row,) = answer(run, "subscriptions", topic)
        assert (row["name"], row["type"], row["durable"]) == ("readers", "shared", True)
        assert (row["consumers"], row["backlog"]) == (1, 10)
        assert row["unacked"] <= 10
        assert row.keys() >= {"last_activity"}
        code, _, err = run("unsubscribe", topic, "readers", "--yes")
        assert code == 1
        assert "has consumers" in err
        assert "--force" in err
        code, _, err = run("delete", topic, "--yes")
        assert code == 1
        assert "has producers or consumers" in err
        assert "--force" in err
        assert run("unsubscribe", topic, "readers", "--yes", "--force")[0] == 0
    assert answer(run, "subscriptions", topic) == []


@pytest.mark.parametrize("topic", ["notes", "parts"])
def test_a_subscription_is_moved(addresses: Addresses, room: str, run: Run, topic: str) -> None:
    subscribe(addresses[0], f"persistent://public/{room}/{topic}", "s", take=10)
    assert backlog(run, topic, "s") == 0
    assert answer(run, "reset", topic, "s", "--to", "earliest", "--yes")["backlog"] == 10
    assert answer(run, "reset", topic, "s", "--to", "latest", "--yes")["backlog"] == 0
    assert answer(run, "reset", topic, "s", "--to", "-5m", "--yes")["backlog"] == 10
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert answer(run, "reset", topic, "s", "--to", soon, "--yes")["backlog"] == 0
    code, out, _ = run("reset", topic, "s", "--to", "earliest", "--yes")
    assert (code, "backlog 10" in out) == (0, True)


def test_moved_to_a_message(addresses: Addresses, room: str, run: Run) -> None:
    subscribe(addresses[0], f"persistent://public/{room}/notes", "s")
    third = answer(run, "peek", "notes", "-n", "3")[0]["position"]
    assert answer(run, "reset", "notes", "s", "--to", third, "--yes")["backlog"] == 3
    ledger, entry = third.split(":")
    for place in (f"{ledger}:{int(entry) + 3}", "999999999:0"):
        code, _, err = run("reset", "notes", "s", "--to", place, "--yes")
        assert code == 1
        assert f"has no message {place}" in err
        assert f"It holds {ledger}:0 to {ledger}:{int(entry) + 2}." in err
    assert backlog(run, "notes", "s") == 3
    subscribe(addresses[0], f"persistent://public/{room}/parts", "s")
    code, _, err = run("reset", "parts", "s", "--to", third, "--yes")
    assert code == 2
    assert "parts-partition-0" in err


@pytest.mark.parametrize("topic", ["notes", "parts"])
def test_peeking_takes_nothing(addresses: Addresses, room: str, run: Run, topic: str) -> None:
    subscribe(addresses[0], f"persistent://public/{room}/{topic}", "s")
    for args in ((), ("--subscription", "s")):
        rows = answer(run, "peek", topic, "-n", "10", *args)
        assert sorted(row["payload"] for row in rows) == [f"message {n}" for n in range(10)]
        assert {row["size_bytes"] for row in rows} == {9}
        assert {row["properties"]["colour"] for row in rows} == {"blü"}
        assert {row["key"] for row in rows} == {f"k{n}" for n in range(10)}
        age = datetime.now(UTC) - datetime.fromisoformat(rows[0]["published"])
        assert timedelta(minutes=-1) < age < timedelta(minutes=5)
    assert [row["payload"] for row in answer(run, "peek", "notes")] == ["message 9"]
    assert len(answer(run, "peek", topic, "-n", "4", "--subscription", "s")) == 4
    assert backlog(run, topic, "s") == 10
    assert [row["name"] for row in answer(run, "subscriptions", topic)] == ["s"]
    code, out, _ = run("peek", topic, "-n", "2")
    assert (code, out.count("message "), out.count("colour=blü")) == (0, 2, 2)


def test_looking_at_nothing(room: str, run: Run) -> None:
    answer(run, "create", "empty")
    assert answer(run, "peek", "empty") == []
    assert run("peek", "empty")[1] == "There are no messages.\n"
    code, _, err = run("peek", f"non-persistent://public/{room}/x")
    assert code == 2
    assert "wtp consume" in err


def test_what_is_missing_is_named(addresses: Addresses, room: str, run: Run) -> None:
    subscribe(addresses[0], f"persistent://public/{room}/notes", "real-one")
    for verb in (
        ["reset", "notes", "nope", "--to", "earliest", "--yes"],
        ["unsubscribe", "notes", "nope", "--yes"],
        ["backlog", "notes", "nope"],
        ["peek", "notes", "--subscription", "nope"],
    ):
        code, out, err = run(*verb)
        assert (code, out) == (1, "")
        assert "has no subscription 'nope'" in err
        assert "Its subscriptions are: real-one." in err
    assert [row["name"] for row in answer(run, "subscriptions", "notes")] == ["real-one"]
    for verb in (["subscriptions", "nots"], ["peek", "nots"], ["retention", "nots"]):
        code, out, err = run(*verb)
        assert (code, out) == (1, "")
        assert f"There is no topic persistent://public/{room}/nots." in err
        assert "hint: In this room there are: notes, parts." in err


def test_retention_of_a_topic_and_a_room(room: str, run: Run) -> None:
    assert answer(run, "retention", "notes")["of"] == "room"
    changed = answer(run, "retention", "notes", "--set", "2h/1GiB")
    assert (changed["minutes"], changed["mb"], changed["changed"]) == (120, 1024, True)
    for _ in range(50):  # a cluster takes a topic's policy over a moment later
        now = answer(run, "retention", "notes")
        if now["of"] == "topic":
            break
    assert (now["of"], now["minutes"], now["mb"]) == ("topic", 120, 1024)
    assert answer(run, "retention", "--set", "3h,2GiB")["name"] == f"public/{room}"
    assert answer(run, "retention")["minutes"] == 180
    assert answer(run, "retention", "parts")["minutes"] == 180
    assert "3 h, 2048 MiB (of its room)" in run("retention")[1]
    code, _, err = run("retention", "--room", "nowhere")
    assert code == 1
    assert room in err


def test_every_form_of_output(addresses: Addresses, room: str, run: Run) -> None:
    subscribe(addresses[0], f"persistent://public/{room}/notes", "s")
    for verb in (["subscriptions", "notes"], ["peek", "notes", "--subscription", "s"]):
        whole = answer(run, *verb)
        lines = run(*verb, "-o", "jsonl")[1].splitlines()
        assert [json.loads(line).keys() for line in lines] == [one.keys() for one in whole]
        rows = list(csv.DictReader(io.StringIO(run(*verb, "-o", "csv")[1])))
        assert [list(row) for row in rows] == [list(one) for one in whole]


def test_moving_and_deleting_ask_first(
    room: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for verb in (["reset", "notes", "s", "--to", "latest"], ["unsubscribe", "notes", "s"]):
        code, _, err = run(*verb)
        assert (code, "--yes" in err) == (2, True)
        with monkeypatch.context() as patch:
            patch.setattr("wtp.cli.topics_common.sys.stdin", SimpleNamespace(isatty=lambda: True))
            patch.setattr("typer.confirm", lambda *_, **__: False)
            code, _, err = run(*verb)
        assert (code, "Nothing was changed." in err) == (2, True)


def test_subscriptions_are_completed(
    addresses: Addresses, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(addresses[0], f"persistent://public/{room}/notes", "second")
    ctx: Any = SimpleNamespace(meta={VALUES: {"rooms.room": room}}, params={"name": "notes"})
    monkeypatch.setattr(topics_common, "ask", lambda url: ["second", "first"])
    assert topics_common.complete_subscriptions(ctx, "") == ["first", "second"]
    assert topics_common.complete_subscriptions(ctx, "s") == ["second"]
    ctx.params["name"] = "a/b"
    assert topics_common.complete_subscriptions(ctx, "") == []


def test_a_table_into_a_pipe_is_not_folded() -> None:
    rows = [
        {
            "subscription": "s" * 60, "topic": "persistent://public/room/" + "t" * 60,
            "backlog": 1, "backlog_bytes": 1, "unacked": 0,
        }
    ]  # fmt: skip
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        topics_common.show(rows, backlog_table(rows), topics_common.Format.TABLE)
    assert len(out.getvalue().splitlines()) == 2
    assert "t" * 60 in out.getvalue()


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("earliest", "earliest"),
        ("latest", "latest"),
        ("12:34", "12:34"),
        ("2026-01-31T12:00:00Z", 1769860800000),
        ("2026-01-31T13:00:00+01:00", 1769860800000),
    ],
)
def test_places(text: str, target: object) -> None:
    assert parse_target(text) == target


def test_times_ago() -> None:
    ago = parse_target("-1h30m")
    assert isinstance(ago, int)
    assert abs(wall_us() // 1000 - ago - 5_400_000) < 5_000


@pytest.mark.parametrize("text", ["", "soon", "-5", "5m", "2026-01-31T12:00:00", "1:2:3", "-1:0"])
def test_no_places(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_target(text)


def test_first_bytes_steer_no_terminal() -> None:
    assert escaped(b"\x1b[31mred\n'\xff") == "\\x1b[31mred\\n'\\xff"
    assert escaped(b"a" * 99) == "a" * HEAD_BYTES


def test_empty_tables_say_so() -> None:
    for table in (subscription_table, backlog_table, message_table):
        assert "no " in str(table([]))
