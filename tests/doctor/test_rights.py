"""The doctor against a real Pulsar with TLS, tokens and authorization switched on."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.doctor.subjects import only, subject
from tests.operators.cluster import Cluster, cluster_of
from tests.pulsar import SharedPulsar
from tests.pulsar_jars import NoJars
from wtp.broker.connect import administer
from wtp.config.schema import RoomSettings, Settings
from wtp.doctor import broker
from wtp.doctor.finding import Finding, State

pytestmark = [pytest.mark.pulsar, pytest.mark.timeout(180)]

PATIENCE_S = 60.0


@pytest.fixture
def cluster(shared_pulsar: SharedPulsar, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    for name in ("KNOCK_S", "ADMIN_S", "TRY_S"):
        monkeypatch.setattr(broker, name, PATIENCE_S)
    try:
        return cluster_of(shared_pulsar)
    except NoJars as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
async def room(cluster: Cluster) -> str:
    """A room with one topic, where `router` may write and read, and `reader` read."""
    name = f"doctor-{uuid.uuid4().hex[:8]}"
    async with administer(cluster.settings()) as admin:
        await admin.ensure_namespace(f"public/{name}", deduplication=True, retention_minutes=60)
        await admin.create_topic(f"persistent://public/{name}/video")
        for role, rights in (("router", ["produce", "consume"]), ("reader", ["consume"])):
            path = f"/namespaces/public/{name}/permissions/{role}"
            await admin._http.call("POST", path, rights)
    return name


async def findings(cluster: Cluster, room: str, role: str, folder: Path) -> list[Finding]:
    settings = Settings(broker=cluster.settings(role), rooms=RoomSettings(room=room))
    found = await broker.look(subject(folder, settings=settings, broker_named=True))
    assert not any(token in repr(found) for token in cluster.tokens())
    return found


async def test_rights_and_promises_by_role(cluster: Cluster, room: str, tmp_path: Path) -> None:
    topic = f"persistent://public/{room}/video"
    admin = await findings(cluster, room, "admin", tmp_path)
    assert "Pulsar" in only(admin, "broker").found
    assert "messages up to 5.0 MiB" in only(admin, "broker-limits").found
    assert only(admin, "room").state is State.OK
    assert only(admin, "room").found == f"public/{room}: kept 1 h, exactly once, 1 topic"
    rights = only(await findings(cluster, room, "router", tmp_path), "broker-rights")
    assert (rights.state, rights.found) == (State.OK, f"{topic}: produce yes, consume yes")
    reader = await findings(cluster, room, "reader", tmp_path)
    rights = only(reader, "broker-rights")
    assert (rights.state, rights.found) == (State.WARNING, f"{topic}: produce no, consume yes")
    assert rights.mend.endswith(f"grant-permission public/{room} --role ROLE --actions produce")
    assert only(reader, "room").state is State.UNKNOWN
    async with administer(cluster.settings()) as client:
        assert await client.list_topics(f"public/{room}") == [topic]
        assert await client.subscriptions(topic) == []


@pytest.mark.parametrize("role", ["expired", "forged", ""])
async def test_who_is_not_let_in_learns_why(
    role: str, cluster: Cluster, room: str, tmp_path: Path
) -> None:
    (found,) = await findings(cluster, room, role, tmp_path)
    assert found.state is State.FAULT
    assert "token" in found.found.lower() or "knows" in found.found
    assert found.mend
