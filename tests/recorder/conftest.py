"""Brokers of the tests here live in memory: there is no port to knock at."""

from __future__ import annotations

from typing import Any

import pytest

from wtp.recorder import run as record_module
from wtp.replayer import run as replay_module


@pytest.fixture(autouse=True)
def no_knock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `reach` succeed at once."""

    async def there(*_: Any, **__: Any) -> None:
        return

    for module in (record_module, replay_module):
        monkeypatch.setattr(module, "reach", there)
