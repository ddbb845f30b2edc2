"""`python -m tests.chaos --rounds 50 --seed 1`: faults by the dozen, and nothing lost.

Ends with 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.campaign import Campaign
from tests.e2e.stage import stage_in


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run a campaign; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--broker", choices=("embedded", "real"), default="embedded")
    parser.add_argument(
        "--broken", action="store_true", help="a router that sends receipts before the broker does"
    )
    given = parser.parse_args()
    folder = tempfile.TemporaryDirectory(prefix="wtp-chaos-")
    with folder, stage_in(Path(folder.name)) as stage:
        campaign = Campaign(stage, given.broker, given.seed, lie=given.broken, say=say)
        try:
            campaign.run(given.rounds)
        finally:
            campaign.close()
            for line in campaign.report():
                say(line)
    return 0 if campaign.total.clean else 1


if __name__ == "__main__":
    sys.exit(main())
