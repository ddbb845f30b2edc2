"""Every contract test runs against each broker; see `brokers`."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pulsar
import pytest

from tests.contract.brokers import Embedded, Real, Target, connected, fill
from tests.pulsar import RealPulsar

BROKERS = [
    "embedded",
    *(pytest.param(name, marks=pytest.mark.pulsar) for name in ("real", "factory")),
]


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The embedded broker of this worker."""
    with Embedded(tmp_path_factory.mktemp("contract")) as target:
        yield target


@pytest.fixture(scope="session")
def idle_topic(factory_pulsar: RealPulsar) -> str:
    """A topic that nobody uses, as old as this worker's use of the factory settings."""
    topic = f"persistent://public/default/idle-{uuid.uuid4().hex[:8]}"
    with connected(factory_pulsar.url) as client:
        fill(client, topic, 1)
    return topic


@pytest.fixture(params=BROKERS)
def target(request: pytest.FixtureRequest) -> Target:
    """A broker under contract, which nobody restarts."""
    if request.param == "embedded":
        embedded: Embedded = request.getfixturevalue("embedded")
        return embedded
    if request.param == "factory":
        request.getfixturevalue("idle_topic")
    return Real(request.getfixturevalue(f"{request.param}_pulsar"), request.param)


@pytest.fixture
def client(target: Target) -> Iterator[pulsar.Client]:
    """An unmodified client of the broker."""
    with connected(target.url) as made:
        yield made


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic of this test's own, persistent, in public/default."""
    name = re.sub(r"\W+", "-", request.node.originalname)
    return f"persistent://public/default/{name}-{uuid.uuid4().hex[:8]}"
