from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wtp.watcher.playout import MAX_PICTURES, Reel, Shot, SyncMeter


def shot(seq: int | None, *, key: bool = False, run: str = "r1", at_us: int | None = None) -> Shot:
    capture_us = (seq or 0) * 33_000 if at_us is None else at_us
    return Shot(capture_us, b"picture", "video/h264", seq, key, run)


def seqs(shots: list[Shot]) -> list[int | None]:
    return [one.seq for one in shots]


def test_pictures_come_out_in_order_when_they_are_due() -> None:
    reel = Reel()
    for seq in (1, 2, 3):
        reel.put(shot(seq, key=seq == 1))
    assert reel.first_us() == 33_000
    assert seqs(reel.due(32_999)) == []
    assert seqs(reel.due(66_000)) == [1, 2]
    assert seqs(reel.due(99_000)) == [3]
    assert reel.first_us() is None
    assert reel.ledger.in_flight == 3


def test_it_begins_at_a_key_frame_and_again_after_a_gap_or_with_another_run() -> None:
    reel = Reel()
    reel.put(shot(1))
    assert reel.waiting
    for one in (shot(2, key=True), shot(3), shot(5), shot(6), shot(7, key=True)):
        reel.put(one)
    assert not reel.waiting
    reel.put(shot(8, run="r2"))
    assert reel.waiting
    reel.put(shot(9, run="r2"))
    reel.put(shot(10, key=True, run="r2"))
    assert seqs(reel.due(10**9)) == [2, 3, 7, 10]
    assert reel.ledger.dropped["no-key"] == 5


def test_without_numbers_everything_follows() -> None:
    reel = Reel()
    for _ in range(3):
        reel.put(shot(None))
    assert len(reel.due(0)) == 3


def test_after_damage_it_goes_on_at_the_next_key_frame() -> None:
    reel = Reel()
    for one in (shot(1, key=True), shot(2), shot(3), shot(4, key=True), shot(5)):
        reel.put(one)
    assert seqs(reel.due(33_000)) == [1]
    reel.broken()
    assert not reel.waiting
    assert seqs(reel.due(10**9)) == [4, 5]
    reel.broken()
    assert reel.waiting
    reel.put(shot(6))
    assert reel.ledger.dropped["no-key"] == 3


def test_it_is_bounded_and_what_remains_can_be_decoded() -> None:
    reel = Reel()
    reel.put(shot(1, key=True))
    for seq in range(2, MAX_PICTURES + 2):
        reel.put(shot(seq))
    assert reel.waiting
    assert reel.first_us() is None
    assert reel.ledger.dropped == {"overflow": MAX_PICTURES, "no-key": 1}


@given(
    puts=st.lists(
        st.tuples(st.integers(0, 40), st.booleans(), st.booleans(), st.integers(0, 50)), max_size=80
    )
)
def test_the_ledger_always_holds_and_what_comes_out_can_be_decoded(
    puts: list[tuple[int, bool, bool, int]],
) -> None:
    reel = Reel()
    out: list[Shot] = []
    for seq, key, take, until in puts:
        reel.put(shot(seq, key=key, at_us=seq * 1000))
        if take:
            out += reel.due(until * 1000)
        assert reel.ledger.balanced
    out += reel.due(10**9)
    before: int | None = None
    for one in out:
        assert one.startable or (before is not None and one.seq == before + 1)
        before = one.seq


def test_lip_sync_is_the_distance_of_what_is_seen_from_what_is_heard() -> None:
    meter = SyncMeter()
    meter.add(80_000, None)
    assert meter.snapshot() is None
    meter.add(80_000, 75_000)
    assert meter.last_us == 5_000
    meter.add(70_000, 75_000)
    assert meter.last_us == -5_000
    figures = meter.snapshot()
    assert figures is not None
    assert (figures["n"], figures["max_ms"]) == (2, 5.0)
