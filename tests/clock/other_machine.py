"""Runs `wtp` as on another machine: another boot id, and a note of the truth beside each object.

The time that this process is given is libfaketime's; the true CLOCK_MONOTONIC of this machine, in
which the router's stamps count, is asked of the kernel directly. The payloads of a publisher are
replaced by the true time of capture, in µs. A consumer writes a line for each object that it
measures to the file in `TRUTH`: `shown_us` and `error_us` as its statistics have them, and
`true_us`.
"""

from __future__ import annotations

import ctypes
import json
import os
from dataclasses import replace
from pathlib import Path

from wtp.clock import monotonic_us, read_boot_id
from wtp.consumer.item import Item
from wtp.consumer.stats import Statistics
from wtp.publisher.live import LiveTrack
from wtp.publisher.unit import Unit

TRUTH = "WTP_TEST_TRUTH"
BOOT_ID = "WTP_TEST_BOOT_ID"
CALLS = {"x86_64": 228, "aarch64": 113}
"""Number of clock_gettime(2)."""
READS = 5
"""Of which the quickest counts: a busy machine may interrupt one between its two clocks."""


class Timespec(ctypes.Structure):
    """struct timespec."""

    _fields_ = (("seconds", ctypes.c_long), ("ns", ctypes.c_long))


_call = ctypes.CDLL(None).syscall
_number = CALLS.get(os.uname().machine, 0)


def true_us() -> int:
    """CLOCK_MONOTONIC of the kernel, whatever this process is told."""
    time = Timespec()
    assert _call(_number, 1, ctypes.byref(time)) == 0
    return int(time.seconds) * 1_000_000 + int(time.ns) // 1000


def true_at(own_us: int) -> int:
    """The true time of a moment just now, from what this process was told then."""
    best, moved_us = 2**62, 0
    for _ in range(READS):
        before_us = monotonic_us()
        now_us = true_us()
        after_us = monotonic_us()
        if 0 <= after_us - before_us < best:
            best, moved_us = after_us - before_us, now_us - (before_us + after_us) // 2
    return own_us + moved_us


def say_when_captured(self: LiveTrack, unit: Unit) -> None:
    """`LiveTrack.offer` with the true time of capture as payload."""
    assert unit.capture_us is not None
    own_us = unit.capture_us - self._clock.domain.anchor_us
    _offer(self, replace(unit, payload=str(true_at(own_us)).encode()))


def say_what_is_shown(self: Statistics, item: Item) -> None:
    """`Statistics.add`, and a line of what it shows and what is true."""
    _add(self, item)
    line = {
        "seq": item.obj.seq if item.obj else None,
        "live": item.live,
        "shown_us": item.latency_us,
        "error_us": item.clock_error_us,
        "true_us": true_at(item.message.receive_monotonic_us) - int(item.message.payload),
    }
    with Path(os.environ[TRUTH]).open("a", encoding="ascii") as file:
        file.write(json.dumps(line) + "\n")


_offer, _add = LiveTrack.offer, Statistics.add

if __name__ == "__main__":
    if BOOT_ID in os.environ:
        read_boot_id.__defaults__ = (Path(os.environ[BOOT_ID]),)
    LiveTrack.offer = say_when_captured  # type: ignore[method-assign]
    if TRUTH in os.environ:
        Statistics.add = say_what_is_shown  # type: ignore[method-assign]
    from wtp.cli import main

    main()
