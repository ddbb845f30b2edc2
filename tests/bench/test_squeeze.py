"""Following a line that becomes narrow and wide again: the figures, and one real run."""

from __future__ import annotations

from typing import Any

import pytest

from wtp.bench import squeeze
from wtp.bench.squeeze import Record, configuration, figures, run
from wtp.bench.wire import Wire
from wtp.errors import Refused, WtpError

SECOND = 1_000_000


def record(delays_ms: dict[int, float]) -> Record:
    """30 objects a second of 8 kB for 20 s; delays from a tenth of a second on."""
    out = Record()
    delay = 5.0
    for number in range(600):
        at_us = number * SECOND // 30
        delay = delays_ms.get(at_us // 100_000, delay)
        narrow = 5 * SECOND <= at_us < 16 * SECOND
        out.objects.append((at_us, delay, 3_000 if narrow else 8_000))
    return out


def test_figures_of_a_run() -> None:
    found = figures(record({50: 400.0, 62: 30.0, 100: 200.0, 101: 30.0}), 5 * SECOND, 15 * SECOND)
    assert found["under_150_ms_s"] == pytest.approx(1.2, abs=0.05)
    assert 0 < found["late_after_share"] < 0.05, "what comes later is told, not hidden"
    assert found["worst_delay_ms"] == 400.0
    assert found["back_up_s"] == pytest.approx(1.45, abs=0.1)
    assert found["kbit_s"]["before"] == pytest.approx(1920, rel=0.02)
    assert found["sound_delay_narrow_p95_ms"] is None


def test_a_delay_that_stays_and_a_rate_that_never_returns_are_unknown() -> None:
    spoiled = record({50: 400.0})
    spoiled.objects = [(at, ms, 8_000 if at < 5 * SECOND else 100) for at, ms, _ in spoiled.objects]
    found = figures(spoiled, 5 * SECOND, 15 * SECOND)
    assert found["under_150_ms_s"] is None
    assert found["late_after_share"] is None
    assert found["back_up_s"] is None


def test_nothing_through_the_wide_line_is_said() -> None:
    with pytest.raises(WtpError, match="wide line"):
        figures(Record(), 0, SECOND)


async def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(Refused, match="takes root"):
        await run(configuration())


@pytest.mark.chaos
@pytest.mark.tool("ip", "tc")
@pytest.mark.timeout(90)
async def test_a_publisher_follows_its_line_down_and_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publisher and router across a veth that drops to 1 Mbit/s: as `wtp bench squeeze`."""
    try:
        async with Wire():
            pass
    except WtpError as error:
        pytest.skip(f"root may not make network namespaces here: {error}")
    seen: list[Record] = []

    def keeping(taken: Record, *times: int) -> dict[str, Any]:
        seen.append(taken)
        return figures(taken, *times)

    monkeypatch.setattr(squeeze, "figures", keeping)
    found = await run(configuration(before_s=2.0, narrow_s=4.0, after_s=5.0))
    assert found["worst_delay_ms"] > 0
    assert found["least_target_kbit_s"] < 1100
    shown = [track for _, track in seen[0].said]
    assert "probing" in [track["limited_by"] for track in shown]
    targets = [track["target_bitrate_bps"] for track in shown]
    lowest = targets.index(min(targets))
    assert max(targets[lowest:]) > 1.3 * targets[lowest], "it comes back up"
    assert all(track["offered"] >= track["delivered"] for track in shown)
