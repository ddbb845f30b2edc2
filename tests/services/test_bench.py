from __future__ import annotations

import pytest

from wtp.bench import processor


@pytest.mark.e2e
async def test_both_parts_are_measured() -> None:
    said: list[str] = []
    config = {
        "size_bytes": 2000,
        "rate": 20.0,
        "duration_s": 1.0,
        "warmup_s": 0.3,
        "objects": 200,
        "fsync": "never",
        "data_format": "json",
    }
    figures = await processor.run(config, said.append)
    assert figures["n"] > 10
    assert figures["baseline"]["n"] > 10
    assert figures["added_p50_ms"] is not None
    assert figures["worker_objects"]["delivered"] == 200
    assert figures["worker_objects_per_s"] > 0
    assert figures["client_alone_objects_per_s"] > 0
    assert set(figures["cpu_s_per_1000"]) == {"router", "router-http", "processor"}
    assert len(said) == 4
