"""Chat as fast as it goes while the router and then the broker are killed."""

from __future__ import annotations

import signal
import time

import pytest

from tests.e2e.stage import Stage, balanced, wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.timeout(60)]

LINES = 3000


def delivered(stage: Stage) -> int:
    """What this router has brought to the broker."""
    return int(stage.stats().get("objects", {}).get("delivered", 0))


def test_nothing_is_lost_doubled_or_out_of_order(stage: Stage) -> None:
    broker = stage.broker()
    router = stage.router()
    talk, lines = stage.typed("publish", "--chat", "--name", "ann")
    talk.wait_for("publishing as ann")

    lines.write([str(number) for number in range(1, 1001)])
    wait_for(lambda: delivered(stage) > 20, "receipts")
    stage.kill_hard(router)
    lines.write([str(number) for number in range(1001, 2001)])
    router = stage.router()
    wait_for(lambda: delivered(stage) > 20, "receipts after the router was killed")
    stage.kill_hard(broker)
    lines.write([str(number) for number in range(2001, LINES + 1)])
    time.sleep(0.3)
    broker = stage.broker()
    lines.end()
    assert talk.wait(60) == 0, talk.report()

    messages = stage.read("chat", expect=LINES)
    assert [int(message.payload) for message in messages] == list(range(1, LINES + 1))
    assert [message.seq for message in messages] == list(range(1, LINES + 1))
    assert router.stop(signal.SIGTERM) == 0, router.report()
    assert balanced(router.event("summary")["objects"])
    assert broker.stop(signal.SIGTERM) == 0, broker.report()
