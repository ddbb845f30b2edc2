"""What being watched costs: CPU of router, broker and consumer with and without a dashboard.

    python -m tests.dashboard.cost [SECONDS [ROUNDS]]

Starts the demo and a consumer that shows its figures, then takes turns: so many seconds without a
dashboard, as many with one. CPU time is what the kernel counted for each process (man 5
proc_pid_stat), so other work on the machine hardly matters. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.processes import Processes

TICKS_S = os.sysconf("SC_CLK_TCK")
WATCHED = ("router", "broker", "consume")
SETTLE_S = 8.0


def cpu_s(pids: list[int]) -> float:
    """User and system time of processes, in seconds (fields 14 and 15 of their stat)."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_S


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 6.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = Processes(folder)
        env = {"WTP_HOME": str(folder / "home"), "WTP_METRICS": ""}
        try:
            demo = start("demo", "--no-processor", env=env)
            demo.wait_for("export WTP_ROUTER", 60)
            shown = dict(
                pair.split("=", 1)
                for line in demo.stderr.splitlines() + demo.stdout.splitlines()
                if line.startswith("export ")
                for pair in line.removeprefix("export ").split()
            )
            env |= shown
            reader = start("consume", "video", "-q", "--metrics", "127.0.0.1:0", env=env)
            time.sleep(SETTLE_S)
            pids = {"consume": [reader.pid]}
            for pid, words in start.alive().items():
                role = words.split("wtp ", 1)[-1].split(" ", 1)[0]
                if role in ("router", "broker"):
                    pids.setdefault(role, []).append(pid)
            figures: dict[str, dict[str, list[float]]] = {
                role: {"without": [], "with": []} for role in WATCHED
            }
            for _ in range(rounds):
                for kind in ("without", "with"):
                    watch = start("dashboard", "-o", "jsonl", env=env) if kind == "with" else None
                    time.sleep(3.0)
                    before = {role: cpu_s(pids[role]) for role in WATCHED}
                    began_s = time.monotonic()
                    time.sleep(seconds)
                    took_s = time.monotonic() - began_s
                    for role in WATCHED:
                        figures[role][kind].append((cpu_s(pids[role]) - before[role]) / took_s)
                    if watch is not None:
                        watch.stop()
            sys.stdout.write(json.dumps(_result(figures, seconds, rounds), indent=2) + "\n")
        finally:
            start.close()


def _result(
    figures: dict[str, dict[str, list[float]]], seconds: float, rounds: int
) -> dict[str, object]:
    """Medians in percent of a core, and what the dashboard adds, in percent of the work."""
    out: dict[str, object] = {"seconds": seconds, "rounds": rounds}
    totals = {"without": 0.0, "with": 0.0}
    for role, kinds in figures.items():
        medians = {kind: statistics.median(values) * 100 for kind, values in kinds.items()}
        for kind, value in medians.items():
            totals[kind] += value
        added = medians["with"] / medians["without"] - 1
        out[role] = {f"{kind}_core_percent": round(v, 2) for kind, v in medians.items()} | {
            "added_percent": round(100 * added, 1)
        }
    out["added_percent"] = round(100 * (totals["with"] / totals["without"] - 1), 1)
    return out


if __name__ == "__main__":
    main()
