"""Joining the longest group, on the embedded broker and on a real one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.consumer.test_broker import Running
from tests.processes import Processes
from tests.pulsar import RealPulsar
from wtp.broker.client import BrokerClient
from wtp.clock import Clock

GOP = 600
"""The longest that `publish.gop` takes: 20 s at 30 pictures a second."""


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.pulsar)])
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    if request.param == "real":
        pulsar: RealPulsar = request.getfixturevalue("real_pulsar")
        yield pulsar.url, pulsar.admin
        return
    folder = tmp_path_factory.mktemp("broker")
    processes = Processes(folder)
    process = processes(
        "broker", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
        "--data", str(folder / "data"), env={"WTP_HOME": str(folder)},
    )  # fmt: skip
    yield process.wait_for("pulsar://").split()[-1], process.wait_for("http://").split()[-1]
    process.stop()
    assert not processes.close()


@pytest.fixture
async def running(broker: tuple[str, str], clean_home: Path) -> AsyncIterator[Running]:
    client = BrokerClient(broker[0])
    topic = f"persistent://public/default/join-{secrets.token_hex(4)}"
    yield Running(*broker, topic, client, Clock())
    await client.close()


@pytest.mark.e2e
async def test_a_group_of_600_is_joined_at_its_key_frame_and_read_to_the_present(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow_way(self: BrokerClient, topic: str) -> str | None:
        raise AssertionError("the admin API tells the newest place")

    await running.publish(range(GOP, 2 * GOP), gop=GOP)
    monkeypatch.setattr(BrokerClient, "last_position", slow_way)
    role = running.consumer(count=GOP + 10)
    joined = asyncio.Event()
    task = asyncio.create_task(role.run(lambda _: joined.set()))
    async with asyncio.timeout(60):
        await joined.wait()
        await running.publish(range(2 * GOP, 2 * GOP + 20), gop=GOP)
        await task
    snapshot = role.snapshot()
    assert snapshot["delivered"] == snapshot["objects"] == GOP + 10
    assert (snapshot["gaps"], snapshot["duplicates"], snapshot["late"]) == (0, 0, 0)
    assert snapshot["past"] == GOP
    (track,) = snapshot["tracks"].values()
    assert track["keys"] == 2
