"""Rooms as tenants, with partitions, on the embedded broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.stage import stage_in
from tests.operators.studio import check_rooms_as_tenants
from wtp.config.schema import BrokerSettings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


async def test_rooms_as_tenants_with_partitions(tmp_path: Path) -> None:
    with stage_in(tmp_path) as stage:
        stage.env["WTP_ROOM"] = "studio-1"
        stage.broker()
        settings = BrokerSettings(url=stage.broker_url, admin=stage.admin_url)
        await check_rooms_as_tenants(stage, settings)
