"""A source that was held up raises the latency that is told (no coordinated omission).

A picture of a file counts from when it was due. A live source has no picture of a moment in which
nobody took one: the one that was held up counts from when it was captured, the next is new.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from wtp.clock import monotonic_us
from wtp.media.pace import Timeline
from wtp.media.picture import Picture
from wtp.media.source import PatternSource
from wtp.media.testsrc import read_code
from wtp.media.video import Encoded
from wtp.metrics import Latency
from wtp.publisher.capture import Capture
from wtp.publisher.unit import Unit

STALL_S = 0.3
STALLED = 5


class Stalling:
    """An encoder that stands still once, and keeps what it was given."""

    content_type = "video/h264"

    def __init__(self) -> None:
        self.drawn_us: list[int | None] = []
        self.captured_us: list[int | None] = []
        self.stalled_us = 0

    def encode(self, picture: Picture, *, force_key: bool = False) -> list[Encoded]:
        self.drawn_us.append(read_code(picture.planes))
        self.captured_us.append(picture.capture_us)
        if len(self.drawn_us) == STALLED:
            began_us = monotonic_us()
            threading.Event().wait(STALL_S)
            self.stalled_us = monotonic_us() - began_us
        return [Encoded(b"x", True, picture.pts_us, picture.capture_us, monotonic_us(), 20_000)]

    def flush(self) -> list[Encoded]:
        return []


async def test_a_picture_that_the_encoder_held_up_counts_from_its_capture() -> None:
    source = PatternSource((160, 120), 50, now_us=monotonic_us)
    encoder, units = Stalling(), list[Unit]()

    def deliver(new: Sequence[Unit], lost: int) -> None:
        assert lost == 0
        units.extend(new)

    await Capture(source, encoder, monotonic_us, deliver, count=12).run()  # type: ignore[arg-type]  # a stand-in
    assert encoder.drawn_us == encoder.captured_us == [unit.capture_us for unit in units]
    latency = Latency()
    for unit in units:
        assert unit.capture_us is not None
        assert unit.encode_us is not None
        latency.add(unit.encode_us - unit.capture_us)
    assert latency.max_us >= encoder.stalled_us
    assert latency.snapshot()["p99_ms"] * 1000 >= encoder.stalled_us
    after = units[STALLED].capture_us
    held = units[STALLED - 1].capture_us
    assert after is not None
    assert held is not None
    assert after - held >= encoder.stalled_us, "the next one is captured when it is taken"


def test_a_picture_of_a_file_counts_from_when_it_was_due() -> None:
    now_us = 1_000_000
    timeline = Timeline(lambda: now_us, paced=True)
    assert timeline.wait(0)
    assert timeline.stamp(0, now_us) == 1_000_000
    now_us += 300_000  # whoever takes its pictures stood still
    assert timeline.stamp(20_000, now_us) == 1_020_000
    assert now_us - timeline.stamp(20_000, now_us) == 280_000
