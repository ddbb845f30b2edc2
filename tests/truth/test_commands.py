"""What the commands show: the waterfall, and that figures of long ago are none of now."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.e2e.stage import stage_in

pytestmark = pytest.mark.e2e

PATIENCE_S = 60.0


def test_a_waterfall_of_real_processes_and_a_publisher_that_stands_still(tmp_path: Path) -> None:
    with stage_in(tmp_path) as stage:
        stage.broker()
        stage.router()
        publisher = stage.command("publish", "--source", "testsrc", "--name", "cam")
        consumer = stage.command("consume", "video", "--waterfall", "--wait")
        consumer.wait_for("latency capture->receive p50", PATIENCE_S)
        os.kill(publisher.pid, signal.SIGSTOP)
        stale = consumer.wait_for("nothing for", PATIENCE_S)
        assert "p50" not in stale
        assert consumer.stop(signal.SIGINT, PATIENCE_S) == 130
        stage.kill(publisher.pid)
    end = consumer.stderr.partition("At the end nothing for")[2]
    assert "the figures are of before" in end
    assert "silent" in end
    rows = re.findall(r"^(\w+->\w+) +(\d+) .* (\d+) %(.*)$", end, re.MULTILINE)
    assert [name for name, *_ in rows] == [
        "capture->encode", "encode->send", "send->route", "route->publish",
        "publish->receive", "receive->take", "capture->receive",
    ]  # fmt: skip
    assert all(bar.strip() for *_, bar in rows[:-1]), end
    assert sum(int(share) for _, _, share, _ in rows[:-1]) == pytest.approx(100, abs=4)
    assert f"capture->receive: n {rows[-1][1]}, clock error 0.00 ms" in end
