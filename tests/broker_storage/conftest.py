"""A broker's REST side on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.broker_storage.fakes import FakeBroker
from wtp.broker.embedded.http import HttpSide
from wtp.broker.embedded.store import Store
from wtp.broker.embedded.values import FsyncPolicy


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[FakeBroker]:
    """A fake broker on a data folder."""
    store = Store(tmp_path / "data", FsyncPolicy.NEVER)
    yield FakeBroker(store)
    store.close()


@pytest.fixture
async def url(broker: FakeBroker) -> AsyncIterator[str]:
    """Where its REST side answers."""
    side = HttpSide(broker)
    host, port = await side.start("127.0.0.1", 0)
    yield f"http://{host}:{port}"
    await side.close()


@pytest.fixture
async def web(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client whose paths are below /admin/v2."""
    async with aiohttp.ClientSession(f"{url}/admin/v2/") as session:
        yield session
