from __future__ import annotations

import os

import pytest

from wtp.bench.machine import cpu_s, machine_line, rss_bytes, slope_mib_per_h, spin_ms

MIB = 2**20


def test_line_names_what_matters() -> None:
    line = machine_line()
    for word in ("cores", "Python 3.", "aioquic", "pulsar-client"):
        assert word in line


def test_own_process_is_measured() -> None:
    before = cpu_s(os.getpid())
    assert spin_ms() > 0
    after = cpu_s(os.getpid())
    assert before is not None
    assert after is not None
    assert after >= before
    held = rss_bytes(os.getpid())
    assert held is not None
    assert held > 10 * MIB


def test_missing_process_has_no_figures() -> None:
    assert cpu_s(2**30) is None
    assert rss_bytes(2**30) is None


@pytest.mark.parametrize("mib_per_h", [0, 1, 36])
def test_slope_leaves_the_start_out(mib_per_h: float) -> None:
    warm_up = [(float(t), 50 * MIB * t) for t in range(20)]
    late = [(float(t), 900 * MIB + int(mib_per_h * MIB * t / 3600)) for t in range(20, 101)]
    assert slope_mib_per_h(warm_up + late) == pytest.approx(mib_per_h, abs=0.01)


SHORT = [(float(t), t * MIB) for t in range(50)]


@pytest.mark.parametrize("samples", [[], [(0.0, 1)], [(0.0, 1), (100.0, 2)], SHORT])
def test_slope_of_too_little_is_unknown(samples: list[tuple[float, int]]) -> None:
    assert slope_mib_per_h(samples) is None
