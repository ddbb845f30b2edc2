"""wtp against a real Pulsar with TLS, tokens and authorization switched on.

In the test's own process: every refusal, the rights of roles, client certificates, partitions.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.operators.cluster import Cluster, cluster_of
from tests.operators.papers import secret_file
from tests.pulsar import SharedPulsar
from tests.pulsar_jars import NoJars
from wtp.broker.client import Producer
from wtp.broker.connect import administer, connect
from wtp.broker.messages import permanent
from wtp.clock import wall_us
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerError, NotFound, Refused, WtpError

pytestmark = [pytest.mark.pulsar, pytest.mark.timeout(180)]

PATIENCE_S = 30.0
"""Longest that any refusal may take."""


@pytest.fixture(scope="module")
def cluster(shared_pulsar: SharedPulsar) -> Cluster:
    try:
        return cluster_of(shared_pulsar)
    except NoJars as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
async def room(cluster: Cluster) -> str:
    """A namespace of its own where `router` may write and read, and `reader` and camera read."""
    name = f"public/ops-{uuid.uuid4().hex[:8]}"
    async with administer(cluster.settings()) as admin:
        await admin.ensure_namespace(name, deduplication=True)
        for role, rights in (
            ("router", ["produce", "consume"]), ("reader", ["consume"]), ("camera", ["consume"])
        ):  # fmt: skip
            await admin._http.call("POST", f"/namespaces/{name}/permissions/{role}", rights)
    return name


async def send(producer: Producer, payload: bytes, key: str = "k", seq: int | None = None) -> Any:
    """Send one object; returns the error or None."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    producer.send(
        payload, properties={}, key=key, event_ms=1, seq=seq, done=answer.set_result
    )  # fmt: skip
    async with asyncio.timeout(60):
        return await answer


async def refusal(settings: BrokerSettings, topic: str, way: str) -> WtpError:
    """The error of opening a producer or reader, or of the admin API; in bounded time."""
    begun = time.monotonic()
    with pytest.raises(WtpError) as caught:
        await _go_in(settings, topic, way)
    assert time.monotonic() - begun < PATIENCE_S
    assert caught.value.hint
    return caught.value


async def _go_in(settings: BrokerSettings, topic: str, way: str) -> None:
    if way == "admin":
        async with administer(settings) as admin:
            await admin.list_topics("public/default")
        return
    client = connect(settings)
    try:
        await getattr(client, way)(topic)
    finally:
        await client.close()


@pytest.mark.parametrize("role", ["admin", "router"])
async def test_objects_go_through(cluster: Cluster, room: str, role: str) -> None:
    topic = f"persistent://{room}/video"
    client = connect(cluster.settings(role))
    try:
        producer = await client.producer(topic)
        assert await send(producer, b"hello") is None
        reader = await client.reader(topic, start="earliest")
        async with asyncio.timeout(60):
            assert (await reader.receive()).payload == b"hello"
        assert await client.partitions(topic) == [topic]
    finally:
        await client.close()


@pytest.mark.parametrize("way", ["producer", "reader", "admin"])
@pytest.mark.parametrize(
    ("role", "more", "code", "exit_code"),
    [
        ("", {}, "token-missing", 4),
        ("expired", {}, "token-expired", 4),
        ("forged", {}, "token-refused", 4),
        ("", {"token": "rubbish"}, "token-refused", 4),
        ("nobody", {}, "not-allowed", 4),
        ("admin", {"ca": "other"}, "tls-trust", 3),
        ("admin", {"ca": ""}, "tls-trust", 3),
        ("", {"stranger": True}, "", 0),
        ("admin", {"token_file": "/nix"}, "token-file", 2),
    ],
)
async def test_refusals(
    cluster: Cluster, way: str, role: str, more: dict[str, Any], code: str, exit_code: int
) -> None:
    values = dict(more)
    if values.get("ca"):
        values["ca"] = cluster.other_ca
    if values.pop("stranger", False):
        values |= cluster.pair("stranger")
    error = await refusal(cluster.settings(role, **values), "persistent://public/default/x", way)
    if code:
        assert (error.code, error.exit_code) == (code, exit_code), str(error)
    else:  # HTTP gives no reason for a certificate that is not trusted
        assert error.exit_code in (3, 4)
    for token in [*cluster.tokens(), "rubbish"]:
        assert token not in str(error) + repr(error)


async def test_urls_that_lead_elsewhere(cluster: Cluster) -> None:
    plain, http = cluster.pulsar.port, cluster.pulsar.http_port
    topic = "persistent://public/default/x"
    for url, code in (
        (f"pulsar://localhost:{cluster.port}", "tls-wanted"),
        (f"pulsar+ssl://localhost:{plain}", "no-tls"),
        (f"pulsar://localhost:{http}", "no-pulsar"),
        (f"pulsar+ssl://localhost:{cluster.https_port}", "no-pulsar"),
        (f"pulsar+ssl://localhost:{http}", "no-pulsar"),
        ("pulsar+ssl://localhost:1", "no-answer"),
    ):
        error = await refusal(cluster.settings(url=url), topic, "producer")
        assert (error.code, error.exit_code) == (code, 3), url
    for admin, code in (
        (f"http://localhost:{cluster.https_port}", "tls-wanted"),
        (f"https://localhost:{http}", "no-tls"),
        (f"http://localhost:{plain}", "no-pulsar"),
        (f"https://localhost:{cluster.port}", "no-pulsar"),
    ):
        error = await refusal(cluster.settings(admin=admin), topic, "admin")
        assert (error.code, error.exit_code) == (code, 3), admin


async def test_a_name_that_the_certificate_does_not_bear(cluster: Cluster) -> None:
    """The same broker at another address of this machine."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection("127.0.0.1", cluster.port)
        with contextlib.suppress(OSError):
            await asyncio.gather(_pump(reader, onward[1]), _pump(onward[0], writer))

    server = await asyncio.start_server(play, "127.0.0.2", 0)
    async with server:
        url = f"pulsar+ssl://127.0.0.2:{server.sockets[0].getsockname()[1]}"
        error = await refusal(cluster.settings(url=url), "persistent://public/default/x", "reader")
        assert (error.code, error.exit_code) == ("tls-name", 3)
        client = connect(cluster.settings(url=url, verify_host=False))
        try:
            assert (await client.enter()).version.startswith("Pulsar")
        finally:
            await client.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def test_rights_are_told_apart(cluster: Cluster, room: str) -> None:
    topic = f"persistent://{room}/chat"
    reader = cluster.settings("reader")
    error = await refusal(reader, topic, "producer")
    assert "does not allow this client to write to" in error.message
    assert f"grant-permission {room} --role ROLE --actions produce" in error.hint
    client = connect(reader)
    try:
        await client.reader(topic)
    finally:
        await client.close()
    nobody = cluster.settings("nobody")
    assert "to read" in (await refusal(nobody, topic, "reader")).message
    async with administer(nobody) as admin:
        for forbidden in (
            admin.create_topic(topic), admin.ensure_namespace("public/other"),
            admin.policies(room), admin.namespaces(), admin.delete_topic(topic),
        ):  # fmt: skip
            with pytest.raises(Refused, match="does not allow it") as caught:
                await forbidden
            assert (caught.value.code, caught.value.exit_code) == ("not-allowed", 4)


async def test_a_missing_namespace_and_an_illegal_topic(cluster: Cluster) -> None:
    for way in ("producer", "reader"):
        error = await refusal(cluster.settings(), "persistent://public/missing/x", way)
        assert isinstance(error, NotFound)
        assert "its namespace does not exist" in error.message
        error = await refusal(cluster.settings(), "persistent://public/only-two", way)
        assert (error.code, error.exit_code) == ("bad-topic", 1)


async def test_a_client_certificate_is_enough(cluster: Cluster, room: str) -> None:
    client = connect(cluster.settings("", **cluster.pair("camera")))
    topic = f"persistent://{room}/x"
    try:
        await client.reader(topic)
        with pytest.raises(Refused, match="to write to"):
            await client.producer(topic)
    finally:
        await client.close()
    async with administer(cluster.settings("", **cluster.pair("camera"))) as admin:
        with pytest.raises(Refused, match="the role 'camera' may not LIST_NAMESPACES"):
            await admin.namespaces()


async def test_several_hosts(cluster: Cluster, room: str) -> None:
    settings = cluster.settings(
        url=f"pulsar+ssl://localhost:1,localhost:{cluster.port}",
        admin=f"https://localhost:1,localhost:{cluster.https_port}",
    )
    client = connect(settings)
    try:
        assert await send(await client.producer(f"persistent://{room}/x"), b"a") is None
    finally:
        await client.close()
    async with administer(settings) as admin:
        assert f"persistent://{room}/x" in await admin.list_topics(room)
        assert (await admin.health()).healthy


async def test_objects_that_are_too_large_are_refused_for_good(cluster: Cluster, room: str) -> None:
    client = connect(cluster.settings())
    try:
        producer = await client.producer(f"persistent://{room}/x", name="wtp/big")
        error = await send(producer, bytes(5 * 1024 * 1024 + 1), seq=1)
        assert isinstance(error, BrokerError)
        assert error.code == "too-large"
        assert permanent(error)
        assert await send(producer, b"small", seq=2) is None
    finally:
        await client.close()


async def test_a_partitioned_topic_keeps_the_order_of_each_track(
    cluster: Cluster, room: str
) -> None:
    topic = f"persistent://{room}/data"
    async with administer(cluster.settings()) as admin:
        assert await admin.ensure_topic(topic, 3) == 3
        assert await admin.ensure_topic(topic, 4) == 3
    client = connect(cluster.settings("router"))
    try:
        parts = await client.partitions(topic)
        assert len(parts) == 3
        tracks = [f"room/cam-{number}/data" for number in range(6)]
        for round_ in (1, 2):  # the second one re-sends what is there already
            producers = [await client.producer(topic, name=f"wtp/{track}") for track in tracks]
            assert [one.last_seq for one in producers] == [-1 if round_ == 1 else 20] * 6
            for seq in range(1, 21):
                for track, producer in zip(tracks, producers, strict=True):
                    assert await send(producer, b"%d" % seq, track, seq) is None
            for producer in producers:
                await producer.close()
        found: dict[str, list[int]] = {}
        where: dict[str, set[str]] = {}
        for part in parts:
            for message in await client.history(part):
                found.setdefault(message.key, []).append(int(message.payload))
                where.setdefault(message.key, set()).add(part)
        assert found == {track: list(range(1, 21)) for track in tracks}
        assert all(len(places) == 1 for places in where.values())
        assert len(set.union(*where.values())) > 1
    finally:
        await client.close()


async def test_a_token_that_is_renewed_in_its_file(
    cluster: Cluster, room: str, tmp_path: Path
) -> None:
    """The broker asks for a new token when one runs out, and cuts off who has none."""
    path = tmp_path / "token"
    now_s = wall_us() // 1_000_000
    first = cluster.token(sub="router", exp=now_s + 4)
    client = connect(cluster.settings("", token_file=secret_file(path, first)))
    try:
        producer = await client.producer(f"persistent://{room}/x", name="wtp/renewed")
        assert await send(producer, b"1", seq=1) is None
        secret_file(path, cluster.token(sub="router", exp=now_s + 3600))
        end = time.monotonic() + 7.0
        seq = 1
        while time.monotonic() < end:
            seq += 1
            assert await send(producer, b"%d" % seq, seq=seq) is None
            await asyncio.sleep(0.05)
        assert producer.connected
    finally:
        await client.close()
