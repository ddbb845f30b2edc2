"""The benchmark of the broker, small."""

from __future__ import annotations

import pytest

from tests.broker_protocol.running import broker
from wtp.bench.broker import run
from wtp.broker.load import Load, consume, produce
from wtp.errors import BrokerError


@pytest.mark.e2e
def test_the_benchmark_starts_its_own_processes() -> None:
    figures = run(small=300, large=100, paced_s=0.5)
    assert figures["n"] == 15
    assert 0 < figures["p50_ms"] <= figures["p90_ms"] <= figures["p99_ms"]
    assert figures["p99_ms"] <= figures["max_ms"] * 1.001  # the histogram's relative error
    assert figures["messages_per_s"] == figures["small"]["messages_per_s"] > 0
    assert figures["mb_per_s"] == figures["large"]["mb_per_s"] > 0


def test_a_missing_namespace_is_an_error_of_the_broker(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with broker(tmp_path_factory.mktemp("load")) as running:
        load = Load(running.url, "persistent://public/missing/t", 100, 5)
        for work in (produce, consume):
            with pytest.raises(BrokerError):
                work(load)
