"""Nothing that was acknowledged is lost, doubled or out of order, whatever dies.

The campaigns here are short; `python -m tests.chaos --rounds 50 --seed N` is the long one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.campaign import ACKED, IN_FLIGHT, KILLS, Campaign
from tests.chaos.live import LivePlay
from tests.chaos.verify import Account, judge
from tests.e2e.stage import stage_in

pytestmark = [pytest.mark.chaos, pytest.mark.e2e]

ROUNDS, REAL_ROUNDS = 10, 1
RECOVERY_S = 2.0
"""From the router being ready to the first receipt (as the README promises, p99)."""
SLOW = 15.0
"""Times longer that a machine busy with other tests may take."""


def play(folder: Path, broker: str, seed: int, rounds: int, *, lie: bool = False) -> Campaign:
    """Play a campaign and print its report."""
    lines: list[str] = []
    with stage_in(folder) as stage:
        campaign = Campaign(stage, broker, seed, lie=lie, say=lines.append)
        try:
            campaign.run(rounds)
        finally:
            campaign.close()
            print("\n".join([*lines, *campaign.report()]))  # noqa: T201 - the report of the run
    return campaign


def check(campaign: Campaign, rounds: int) -> None:
    """Every round has struck as it should, and no promise was broken."""
    assert len(campaign.rounds) == rounds
    for one in campaign.rounds:
        assert {struck.fault for struck in one.struck} >= set(KILLS)
        assert min(struck.in_flight for struck in one.struck) >= IN_FLIGHT, one.line()
        assert one.findings.acked >= ACKED, one.line()
        assert one.findings.clean, one.line()


@pytest.mark.timeout(900)
def test_the_embedded_broker(tmp_path: Path) -> None:
    campaign = play(tmp_path, "embedded", 4, ROUNDS)
    check(campaign, ROUNDS)
    struck = [one for each in campaign.rounds for one in each.struck]
    router = sorted(one.recovery_s for one in struck if one.fault == "kill-router")
    assert router[-1] < RECOVERY_S * SLOW, router


@pytest.mark.pulsar
@pytest.mark.timeout(900)
def test_a_real_pulsar(tmp_path: Path) -> None:
    check(play(tmp_path, "real", 4, REAL_ROUNDS), REAL_ROUNDS)


@pytest.mark.timeout(240)
def test_a_router_that_lies_is_found_out(tmp_path: Path) -> None:
    """Receipts before the broker has the objects: the campaign must count losses."""
    campaign = play(tmp_path, "embedded", 4, 1, lie=True)
    assert campaign.total.lost
    assert not campaign.total.clean


@pytest.mark.timeout(240)
def test_live_pictures(tmp_path: Path) -> None:
    with stage_in(tmp_path) as stage:
        live = LivePlay(stage, "embedded", 4)
        try:
            outcome = live.run()
        finally:
            live.close()
    print("\n".join(outcome.report()))  # noqa: T201 - the report of the run
    outcome.check()
    assert max(one.recovery_s for one in outcome.struck) < RECOVERY_S * SLOW, outcome.report()


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([1, 2, 4, 5], "lost"),
        ([1, 2, 3, 4, 4, 5], "doubled"),
        ([1, 3, 2, 4, 5], "disordered"),
        ([1, 2, 3, 4, 5, 7], "gaps"),
        ([1, 2, 3, 4, 5, 6], ""),
        ([1, 2, 3, 4, 5], ""),
    ],
)
def test_the_judge_sees_every_fault(lines: list[int], fault: str) -> None:
    findings = judge({1: lines}, [Account(1, acked=5, whole=None)])
    seen = [name for name in ("lost", "doubled", "disordered", "gaps") if getattr(findings, name)]
    assert seen == ([fault] if fault else [])
    assert findings.clean is not bool(fault)
