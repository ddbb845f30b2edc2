"""The room that `wtp.bench.record` measures with: cheap, endless, in order."""

from __future__ import annotations

from tests.recorder.rooms import T0_US
from wtp.bench.record import FPS, LOOP_S, encode_loops, repeated
from wtp.model import Kind


def test_two_seconds_again_and_again() -> None:
    loops = encode_loops(T0_US)
    assert len(loops[0].objects) == FPS * LOOP_S
    objects = list(repeated(loops, T0_US, 3 * LOOP_S))
    video = [one for one in objects if one.kind is Kind.VIDEO]
    assert [one.obj.seq for one in video] == list(range(1, 3 * LOOP_S * FPS + 1))
    assert [one.at_us for one in video] == sorted(one.at_us for one in video)
    assert [one.obj.key for one in video].count(True) == 3
    assert video[-1].at_us - T0_US == 3 * LOOP_S * 1_000_000 - 1_000_000 // FPS - 1
    payloads = {one.obj.payload for one in video}
    assert len(payloads) == FPS * LOOP_S
    heard = [one for one in objects if one.kind is Kind.AUDIO]
    assert len(heard) == 3 * len(loops[1].objects)
