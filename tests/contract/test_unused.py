"""Factory settings delete a topic that nobody uses: after one minute, looked at once a minute."""

from __future__ import annotations

import time

import pytest

from tests.contract.brokers import Real
from tests.pulsar import RealPulsar

GONE_S = 150.0


@pytest.mark.pulsar
@pytest.mark.timeout(240)
def test_an_idle_topic_is_deleted(factory_pulsar: RealPulsar, idle_topic: str) -> None:
    target = Real(factory_pulsar, "factory")
    path = f"{idle_topic.replace('://', '/')}/stats"
    end = time.monotonic() + GONE_S
    while target.call("GET", path).status != 404:
        assert time.monotonic() < end, "It is still there."
        time.sleep(1.0)
