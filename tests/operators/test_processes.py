"""Real commands against a real Pulsar with TLS and tokens, all from one environment."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.stage import Stage, stage_in
from tests.operators.cluster import Cluster, cluster_of
from tests.operators.studio import LINES, check_rooms_as_tenants, publish
from tests.processes import Process
from tests.pulsar import SharedPulsar
from tests.pulsar_jars import NoJars
from wtp.broker.connect import administer

pytestmark = [pytest.mark.pulsar, pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE_S = 30.0
"""Longest that a command may take to say that it is refused."""

BUSY_S = 10.0
"""What a machine busy with other tests may add."""


@pytest.fixture(scope="module")
def cluster(shared_pulsar: SharedPulsar) -> Cluster:
    try:
        return cluster_of(shared_pulsar)
    except NoJars as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def stage(tmp_path: Path, cluster: Cluster) -> Iterator[Stage]:
    """A stage whose every process comes from one environment, with a room of its own."""
    with stage_in(tmp_path) as stage:
        stage.env |= cluster.env()
        stage.env["WTP_ROOM"] = f"ops-{uuid.uuid4().hex[:8]}"
        yield stage


def say(stage: Stage, *args: str, env: Mapping[str, str] | None = None) -> Process:
    """Publish all lines as a chat and wait for the end."""
    run = publish(stage, *args, env=env)
    run.wait(60)
    return run


def no_secret(cluster: Cluster, *texts: str) -> None:
    for token in cluster.tokens():
        assert not any(token in text for text in texts)


def command_lines(pid: int) -> list[str]:
    """Command line of a process and of its children."""
    lines = [Path(f"/proc/{pid}/cmdline").read_text()]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            lines += command_lines(int(child))
    return lines


def test_everything_from_one_environment(stage: Stage, cluster: Cluster) -> None:
    debug = {"WTP_LOG_LEVEL": "debug", "WTP_DEBUG": "1"}
    created = stage.command("topics", "create", "chat")
    assert created.wait() == 0, created.report()
    router = stage.router(env=debug)
    assert say(stage, "--name", "ann").popen.returncode == 0
    read = stage.command(
        "consume", "chat", "--from", "earliest", "-n", str(len(LINES)), "-o", "jsonl", env=debug
    )
    assert read.wait(60) == 0, read.report()
    found = [json.loads(line) for line in read.stdout.splitlines()]
    assert [one["seq"] for one in found] == list(range(1, len(LINES) + 1))
    listed = stage.command("topics", "list", "-o", "json")
    assert listed.wait() == 0, listed.report()
    assert f"persistent://public/{stage.env['WTP_ROOM']}/chat" in listed.stdout
    stats = json.dumps(stage.stats())
    assert cluster.pulsar.url_tls in stats
    lines = command_lines(router.pid)
    summary = router.finish()
    assert summary["objects"]["delivered"] == len(LINES)
    runs = (created, router, read, listed)
    no_secret(cluster, stats, *lines, *(run.report() for run in runs))


def test_a_router_with_no_more_rights_than_it_needs(stage: Stage, cluster: Cluster) -> None:
    """The room is made by an operator; the router may write, the consumer may read."""
    room = stage.env["WTP_ROOM"]
    created = stage.command("topics", "create", "chat")
    assert created.wait() == 0, created.report()
    grant(cluster, f"public/{room}", "router", "produce")
    grant(cluster, f"public/{room}", "reader", "consume")
    router = stage.router("--profile", "production", "--listen", stage.env["WTP_ROUTER_LISTEN"],
                          "--certs", str(stage.home / "certs"),
                          env=cluster.env("router"))  # fmt: skip
    assert say(stage, "--name", "ann").popen.returncode == 0
    notes = stage.stats()["notes"]
    assert "policies unknown" in notes[f"public/{room}"]
    read = stage.command(
        "consume", "chat", "--from", "earliest", "-n", str(len(LINES)), "-o", "jsonl",
        env=cluster.env("reader"),
    )  # fmt: skip
    assert read.wait(60) == 0, read.report()
    assert len(read.stdout.splitlines()) == len(LINES)
    refused = say(stage, "--name", "bob", "--room", f"{room}-missing")
    assert refused.popen.returncode == 4, refused.report()
    assert "does not allow" in refused.stderr
    forbidden = stage.command("consume", "chat", "-n", "1", env=cluster.env("nobody"))
    assert forbidden.wait(PATIENCE_S + BUSY_S) == 4, forbidden.report()
    assert "does not allow this client to read" in forbidden.stderr
    router.finish()


def grant(cluster: Cluster, namespace: str, role: str, *rights: str) -> None:
    async def work() -> None:
        async with administer(cluster.settings()) as admin:
            path = f"/namespaces/{namespace}/permissions/{role}"
            await admin._http.call("POST", path, list(rights))

    asyncio.run(work())


async def test_rooms_as_tenants_with_partitions(stage: Stage, cluster: Cluster) -> None:
    await check_rooms_as_tenants(stage, cluster.settings())


REFUSED = [
    ({"WTP_BROKER_TOKEN_FILE": ""}, 4, "there is no token"),
    ({"WTP_BROKER_TOKEN_FILE": "{expired}"}, 4, "it expired"),
    ({"WTP_BROKER_TOKEN_FILE": "/nix"}, 2, "/nix cannot be read"),
    ({"WTP_BROKER_CA": "{other_ca}"}, 3, "signed by nobody who is trusted here"),
    ({"WTP_BROKER": "pulsar://127.0.0.1:{port}", "WTP_ADMIN": "http://127.0.0.1:{https}"}, 3,
     "wants TLS"),
    ({"WTP_BROKER": "pulsar://127.0.0.1:{http}"}, 3, "is an HTTP server"),
    ({"WTP_BROKER": "pulsar://me:secret@127.0.0.1:1", "WTP_ADMIN": "http://me:secret@h:1"}, 0,
     "do not belong into it"),
]  # fmt: skip


def test_refused_commands_say_why_and_end_in_time(stage: Stage, cluster: Cluster) -> None:
    """Every fault with a router, a consumer and the admin API, where it concerns them."""
    places = {
        "expired": cluster.token_file("expired"),
        "other_ca": cluster.other_ca,
        "port": cluster.port,
        "https": cluster.https_port,
        "http": cluster.pulsar.http_port,
    }
    for values, code, words in REFUSED:
        begun = time.monotonic()
        env = {name: value.format(**places) for name, value in values.items()}
        commands: list[tuple[str, ...]] = [("router", "--listen", "127.0.0.1:0")]
        if "WTP_BROKER" not in values:
            commands.append(("consume", "chat", "-n", "1"))
        if "WTP_BROKER" not in values or "WTP_ADMIN" in values:
            commands.append(("topics", "list"))
        for run in [stage.command(*command, env=env) for command in commands]:
            ended = run.wait(PATIENCE_S + BUSY_S)
            # A wrong broker URL cannot be used, a wrong admin URL is a wrong argument.
            assert ended == (code or (2 if "topics" in run.argv else 3)), run.report()
            assert words in run.stderr, run.report()
            assert run.stderr.count("error: ") == 1, run.report()
            assert "hint: " in run.stderr
            assert "Traceback" not in run.stderr
            assert "secret@" not in run.stderr
            no_secret(cluster, run.stdout, run.stderr)
        assert time.monotonic() - begun < PATIENCE_S + BUSY_S


def test_a_broker_that_does_not_answer_yet_is_waited_for(stage: Stage, cluster: Cluster) -> None:
    """A router may start before its cluster; a consumer is told at once."""
    away = {"WTP_BROKER": "pulsar+ssl://127.0.0.1:1,127.0.0.1:2"}
    router = stage.router(env=away)
    consumer = stage.command("consume", "chat", "-n", "1", env=away)
    assert consumer.wait(PATIENCE_S + BUSY_S) == 3, consumer.report()
    assert "No broker answers at pulsar+ssl://127.0.0.1:1,127.0.0.1:2" in consumer.stderr
    assert router.popen.poll() is None
    router.finish()
