"""Prints how the estimates of simulated clocks compare with the truth.

python -m tests.clock.table
"""

from __future__ import annotations

import sys

from tests.clock.world import CASES, Tally, run, variant

SEEDS = 10


def main() -> None:
    """One row per case."""
    out = sys.stdout.write
    out(f"{'case':32} {'looks':>6} {'error p50':>10} {'error p99':>10} {'within':>8}\n")
    for case in CASES:
        runs = [run(variant(case, seed) if seed else case, seed) for seed in range(SEEDS)]
        errors_us = [error_us for one in runs for error_us in one.errors_us]
        all_ = Tally(errors_us, sum(one.within for one in runs), sum(one.unknown for one in runs))
        p50_ms, p99_ms = all_.percentile_us(0.5) / 1000, all_.percentile_us(0.99) / 1000
        out(
            f"{case.name:32} {len(errors_us):6} {p50_ms:7.3f} ms {p99_ms:7.3f} ms"
            f" {100 * all_.share:7.2f}%\n"
        )


if __name__ == "__main__":
    main()
