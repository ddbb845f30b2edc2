"""Publishers and consumers of other machines, years away, against a router with true time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clock.other_machine import BOOT_ID, TRUTH
from tests.e2e.stage import Run, Stage, stage_in, wait_for
from tests.processes import ROOT
from wtp.clock import monotonic_us, wall_us

pytestmark = [pytest.mark.e2e, pytest.mark.tool("faketime")]

LIBRARY = "/usr/$LIB/faketime/libfaketimeMT.so.1"
ENTRY = ("tests.clock.other_machine",)
PATIENCE_S = 60.0
OBJECTS = 60
STEP_S = 0.75
YEAR_US = 365 * 86_400 * 1_000_000


class Machine:
    """Another machine: its boot id, and its time, which runs apart and can be set.

    libfaketime makes CLOCK_MONOTONIC the wall clock, and some waits of C libraries pass by it; so
    the wall clock is set to about the kernel's CLOCK_MONOTONIC: to the year 1970, decades away.
    """

    def __init__(self, folder: Path, name: str, rate: str) -> None:
        self._time, self._rate = folder / f"{name}.time", rate
        self._base_s = (monotonic_us() - wall_us()) / 1e6
        self.set(0.0)
        boot_id = folder / f"{name}.boot_id"
        boot_id.write_text(f"00000000-0000-0000-0000-{name:0>12}\n", encoding="ascii")
        self.truth = folder / f"{name}.truth"
        self.truth.touch()
        self.env = {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._time),
            "FAKETIME_CACHE_DURATION": "1",
            BOOT_ID: str(boot_id),
            TRUTH: str(self.truth),
            "PYTHONPATH": str(ROOT),
        }

    def set(self, ahead_s: float) -> None:
        """Set its time, against what it was at the start."""
        fresh = self._time.with_suffix(".fresh")
        fresh.write_text(f"{self._base_s + ahead_s:+.6f} {self._rate}\n", encoding="ascii")
        fresh.rename(self._time)

    def seen(self) -> list[dict[str, Any]]:
        """What was shown of each live object, and what is true."""
        whole, _, _ = self.truth.read_text(encoding="ascii").rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["live"]]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with stage_in(tmp_path) as stage:
        yield stage


Lines = list[dict[str, Any]]


def known(lines: Lines) -> Lines:
    """Objects whose latency is shown."""
    return [one for one in lines if one["shown_us"] is not None and one["error_us"] is not None]


def wrong(lines: Lines) -> Lines:
    """Of these, those whose true latency is not within the stated error."""
    shown = known(lines)
    return [one for one in shown if abs(one["shown_us"] - one["true_us"]) > one["error_us"]]


def more(machine: Machine, count: int) -> Lines:
    """Wait for so many more objects with a latency; returns all since now."""
    mark = len(machine.seen())
    wait_for(lambda: len(known(machine.seen()[mark:])) >= count, f"{count} objects", PATIENCE_S)
    return machine.seen()[mark:]


def clock(run: Run) -> dict[str, Any]:
    """What a process last told of its clock."""
    return dict(run.last.get("clock") or {})


def resynced(run: Run) -> None:
    """Wait until it has thrown its offset away and found another."""
    wait_for(
        lambda: clock(run).get("resyncs") == 1 and clock(run)["state"] == "measured",
        lambda: f"resynced: {clock(run)}\n{run.report()[-3000:]}",
        PATIENCE_S,
    )


def test_the_truth_lies_within_the_error_before_and_after_steps_of_either_clock(
    stage: Stage,
) -> None:
    """Clocks decades off the router's that run 100 ppm fast and slow; each is stepped once."""
    stage.broker()
    stage.router()
    there = Machine(stage.folder, "a", "x1.0001")
    here = Machine(stage.folder, "b", "x0.9999")
    publisher = stage.child(
        "publish", "--source", "testsrc", "--codec", "jpeg", "--size", "64x48", "--fps", "30",
        "--insecure", env=there.env, entry=ENTRY,
    )  # fmt: skip
    consumer = stage.child(
        "consume", "video", "--wait", "--router", stage.router_url, env=here.env, entry=ENTRY
    )
    publisher.event("ready", PATIENCE_S)
    consumer.event("ready", PATIENCE_S)
    first = more(here, OBJECTS)

    here.set(-STEP_S)  # as if this machine had been halted
    resynced(consumer)
    second = more(here, OBJECTS)

    there.set(-STEP_S)
    resynced(publisher)
    third = more(here, OBJECTS)

    for phase in (first, second, third):
        assert len(wrong(phase)) <= len(known(phase)) // 100, wrong(phase)
        assert all(one["error_us"] < STEP_S * 1e6 / 2 for one in known(phase))
    assert all(abs(one["shown_us"]) < YEAR_US for one in known(here.seen())), "never by no offset"
    for run in (publisher, consumer):
        figures = clock(run)
        assert abs(figures["offset_us"]) > 20 * YEAR_US
        assert figures["resyncs"] == 1
    assert not wrong(between(here, first, second)), "arrivals before they left tell at once"
    publisher.finish()
    consumer.finish()


def between(machine: Machine, before: Lines, after: Lines) -> Lines:
    """What came between two phases."""
    return [one for one in machine.seen() if before[-1]["seq"] < one["seq"] < after[0]["seq"]]
