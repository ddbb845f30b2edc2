"""When a broker of our own is started, and when the URL means somebody else's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wtp.children.broker import ensure_broker, host_port
from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.errors import BrokerUnavailable
from wtp.router.link import reachable


@pytest.mark.parametrize(
    "url", ["pulsar://127.0.0.1:{},127.0.0.1:{}", "pulsar+ssl://127.0.0.1:{}", "pulsar://h.invalid"]
)
async def test_no_broker_is_started_for_a_cluster(url: str, free_port: Callable[[], int]) -> None:
    where = url.format(free_port(), free_port())
    settings = override(Settings(), {"broker.url": where, "broker.start": True})
    said: list[str] = []
    assert await ensure_broker(settings, say=said.append) is None
    assert not said
    assert not await reachable(where)


def test_a_secret_in_the_url_is_not_shown() -> None:
    with pytest.raises(BrokerUnavailable) as caught:
        host_port("pulsar://me:hunter2@h:1", 6650)
    assert "hunter2" not in str(caught.value)
