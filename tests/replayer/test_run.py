"""The role against a broker in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.replayer.fakes import (
    SECOND_US,
    T0_US,
    Collect,
    FakeBroker,
    foreign,
    message,
    replayer,
    room,
    run,
    topic_of,
)
from wtp.consumer.output import Finished
from wtp.errors import BrokerError, NotFound, StorageError, UsageError
from wtp.model import Kind
from wtp.replayer import run as run_module
from wtp.replayer import source as source_module
from wtp.replayer.placed import Played
from wtp.replayer.request import Request
from wtp.replayer.run import Replayer
from wtp.replayer.when import Moment

FAST = Request(speed=0.0)


@pytest.fixture(autouse=True)
def _broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def there(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(run_module, "reach", there)


def times(output: Collect) -> list[int]:
    return [item.at_us - T0_US for item in output.items if isinstance(item, Played)]


async def test_all_tracks_come_in_step_by_capture_time() -> None:
    output = Collect()
    shot = await run(replayer(room(3), FAST, output))
    assert times(output) == sorted(times(output))
    assert shot["objects"] == len(output.items) == 63
    assert (shot["gaps"], shot["duplicates"], shot["late"], shot["skipped"]) == (0, 0, 0, 0)
    assert {track["objects"] for track in shot["tracks"].values()} == {3, 30}
    assert shot["placed_by"] == {"capture": 63}
    assert output.closed == 1


async def test_capture_time_counts_not_the_order_in_the_broker() -> None:
    broker = FakeBroker()
    for seq, (at_us, publisher) in enumerate([(500_000, "fast"), (0, "slow"), (600_000, "slow")]):
        one = message(T0_US + at_us, seq + 1, publisher=publisher, delay_us=SECOND_US - at_us)
        await broker.append(one)
    output = Collect()
    await run(replayer(broker, FAST, output))
    assert times(output) == [0, 500_000, 600_000]


async def test_a_track_keeps_its_order_where_its_stamps_do_not() -> None:
    broker = FakeBroker()
    for seq, at_us in enumerate([0, 66_000, 33_000, 99_000], 1):  # decoding order, as B frames
        await broker.append(message(T0_US + at_us, seq))
    output = Collect()
    shot = await run(replayer(broker, FAST, output))
    assert output.seqs() == [1, 2, 3, 4]
    assert shot["late"] == 0


async def test_a_part_of_the_past_is_exact() -> None:
    output = Collect()
    request = replace(
        FAST,
        start=Moment(T0_US + SECOND_US),
        end=Moment(T0_US + 2 * SECOND_US),
        kinds=(Kind.VIDEO,),
    )
    shot = await run(replayer(room(30), request, output))
    assert output.seqs() == list(range(11, 22))
    assert shot["skipped"] > 0


async def test_far_from_the_beginning_reading_begins_nearby() -> None:
    broker = room(60)
    request = replace(FAST, start=Moment(T0_US + 50 * SECOND_US))
    shot = await run(replayer(broker, request))
    assert shot["objects"] == 210
    assert shot["skipped"] <= 5 * 21 + 3, "five seconds of each topic are looked through"


async def test_reading_ends_soon_behind_the_end() -> None:
    broker = room(60)
    shot = await run(replayer(broker, replace(FAST, end=Moment(T0_US + 2 * SECOND_US))))
    assert shot["objects"] == 21 + 20 + 3
    assert 0 < shot["skipped"] <= 2 * 101 + 11, "ten seconds more are looked through"


async def test_kinds_publishers_and_tracks_are_filtered() -> None:
    broker = room(2)
    await broker.append(message(T0_US + SECOND_US, 1, publisher="other"))
    shot = await run(replayer(broker, replace(FAST, kinds=(Kind.VIDEO, Kind.CHAT))))
    assert set(shot["tracks"]) == {
        "default/cam/video", "default/other/video", "default/cam/chat"
    }  # fmt: skip
    shot = await run(replayer(broker, replace(FAST, publisher="other")))
    assert set(shot["tracks"]) == {"default/other/video"}
    shot = await run(replayer(broker, replace(FAST, track="chat")))
    assert set(shot["tracks"]) == {"default/cam/chat"}


async def test_messages_that_are_not_ours_are_placed_and_labelled() -> None:
    broker = FakeBroker()
    await broker.append(message(T0_US, 1), foreign(T0_US // 1000 + 20), message(T0_US + 40_000, 2))
    output = Collect()
    shot = await run(replayer(broker, FAST, output))
    assert times(output) == [0, 20_000, 40_000]
    assert shot["placed_by"] == {"capture": 2, "publish": 1}


async def test_a_count_is_exact() -> None:
    output = Collect()
    shot = await run(replayer(room(30), replace(FAST, count=17), output))
    assert (shot["objects"], len(output.items)) == (17, 17)


async def test_messages_by_their_id() -> None:
    output = Collect()
    request = replace(
        FAST, kinds=(Kind.VIDEO,), start=Moment(position="1:4"), end=Moment(position="1:7")
    )
    await run(replayer(room(), request, output))
    assert output.seqs() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request(kinds=(Kind.VIDEO,), start=Moment(position="1:999")), "is not in persistent"),
        (Request(kinds=(Kind.VIDEO,), start=Moment(position="0:4")), "1:0 to 1:29"),
        (Request(kinds=(Kind.VIDEO,), end=Moment(position="7:4")), "is not in persistent"),
        (Request(start=Moment(T0_US + 3600 * SECOND_US)), "behind everything that is kept"),
        (Request(end=Moment(T0_US - SECOND_US)), "before everything that is kept"),
        (Request(kinds=(Kind.SCREEN,)), "Kinds of it are: video, audio, chat"),
        (Request(topic=topic_of("nope")), "no topic 'nope'"),
        (Request(topic="persistent://public/lobby/video"), "Rooms are: default, lab"),
    ],
)
async def test_what_is_not_there_is_said_with_what_is(request_: Request, says: str) -> None:
    with pytest.raises(NotFound, match=says):
        await run(replayer(room(), request_))


async def test_a_message_that_was_deleted_is_no_other_one() -> None:
    broker = room()
    del broker.topics[topic_of("video")][5]
    request = replace(FAST, kinds=(Kind.VIDEO,), start=Moment(position="1:5"))
    with pytest.raises(NotFound, match="next one that it holds is 1:6"):
        await run(replayer(broker, request))


async def test_a_time_before_the_retained_past_says_what_is_the_earliest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shot = await run(replayer(room(), replace(FAST, start=Moment(T0_US - 3600 * SECOND_US))))
    assert shot["objects"] == 63
    assert "The earliest that is kept is of 2023-11-1" in caplog.text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"speed": -1.0}, "negative"),
        ({"speed": float("nan")}, "negative"),
        ({"start": Moment(5), "end": Moment(4)}, "--to lies before --from"),
        ({"start": Moment(position="1:5"), "end": Moment(position="1:4"),
          "kinds": (Kind.VIDEO,)}, "--to lies before --from"),
        ({"end": Moment()}, "no end"),
        ({"start": Moment(position="1:5")}, "belongs to one topic"),
        ({"follow": True, "end": Moment(5)}, "--follow has no end"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_at_once(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        replayer(room(), Request(**changes))


async def test_topics_that_keep_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="keeps nothing"):
        await run(replayer(room(), Request(topic="non-persistent://public/default/video")))


async def test_an_empty_room_says_so() -> None:
    with pytest.raises(NotFound, match="empty"):
        await run(replayer(FakeBroker({topic_of("video"): []}), FAST))


async def test_without_directory_named_kinds_are_taken_on_trust(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = room()
    broker.admin_error = BrokerError("down")
    shot = await run(replayer(broker, replace(FAST, kinds=(Kind.CHAT,))))
    assert shot["objects"] == 3
    assert "cannot be asked" in caplog.text
    with pytest.raises(BrokerError, match="down"):
        await run(replayer(broker, FAST))


async def test_partitions_are_one_topic() -> None:
    broker = FakeBroker()
    for i in range(20):
        name = f"{topic_of('video')}-partition-{i % 2}"
        one = message(T0_US + i * 10_000, i // 2 + 1, publisher=f"p{i % 2}", topic=name)
        await broker.append(one)
    output = Collect()
    shot = await run(replayer(broker, replace(FAST, kinds=(Kind.VIDEO,)), output))
    assert len(shot["topics"]) == 2
    assert times(output) == [i * 10_000 for i in range(20)]


async def test_objects_left_out_are_counted() -> None:
    shot = await run(replayer(room(), FAST, Collect(reason="no-key")))
    assert shot["dropped"] == {"no-key": 63}


@pytest.mark.parametrize("problem", [StorageError("full"), BrokenPipeError()])
async def test_an_output_that_fails_ends_it(problem: BaseException) -> None:
    role = replayer(room(), FAST, Collect(problem=problem))
    with pytest.raises(type(problem)):
        await run(role)
    assert role.ledger.balanced
    assert role.ledger.in_flight == 0


async def test_an_output_that_wants_no_more_ends_it_well() -> None:
    await run(replayer(room(), FAST, Collect(problem=Finished())))


@asynccontextmanager
async def running(role: Replayer) -> AsyncIterator[asyncio.Task[dict[str, Any]]]:
    """A replay in a task; stopped at the end."""
    task = asyncio.create_task(run(role))
    try:
        yield task
    finally:
        role.stop()
        await task


async def test_following_goes_over_to_live_without_gap_or_repeat() -> None:
    broker, output = room(3), Collect()
    role = replayer(broker, replace(FAST, follow=True), output)
    async with running(role):
        await output.until(63)
        for i in range(30, 50):
            await broker.append(message(T0_US + i * 100_000, i + 1))
            await asyncio.sleep(0)
        await output.until(83)
        async with asyncio.timeout(60):
            while role.state != "live":
                await asyncio.sleep(0.01)
    assert output.seqs() == list(range(1, 51))
    assert sum(item.live for item in output.items) > 0


async def test_following_an_empty_room_waits_for_its_first_object() -> None:
    broker, output = FakeBroker({topic_of("video"): []}), Collect()
    async with running(replayer(broker, replace(FAST, follow=True), output)):
        await asyncio.sleep(0.01)
        await broker.append(message(T0_US, 1))
        await output.until(1)
    assert output.seqs() == [1]


async def test_a_follower_that_stands_still_holds_a_bounded_amount(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_module, "QUEUE", 10)
    monkeypatch.setattr("wtp.replayer.merge.MAX_HELD", 20)
    broker, output = room(1), Collect()
    role = replayer(broker, replace(FAST, follow=True, kinds=(Kind.VIDEO,)), output)
    async with running(role):
        await output.until(10)
        role.toggle_pause()
        for i in range(10, 210):
            await broker.append(message(T0_US + i * 100_000, i + 1))
        for _ in range(50):
            await asyncio.sleep(0)
        assert role.snapshot()["held"] <= 40
        role.toggle_pause()
        await output.until(210)
    assert output.seqs() == list(range(1, 211))


async def test_the_client_holds_fewer_messages_when_they_are_large() -> None:
    broker = FakeBroker()
    await broker.append(message(T0_US, 1, payload=bytes(source_module.QUEUE_BYTES // 50)))
    await run(replayer(broker, FAST))
    assert broker.queues[-1] == 50
    await broker.append(message(T0_US + 1, 2, payload=bytes(source_module.QUEUE_BYTES)))
    await run(replayer(broker, FAST))
    assert broker.queues[-1] == source_module.MIN_QUEUE


async def test_a_pause_stops_and_goes_on() -> None:
    output = Collect()
    role = replayer(room(20), replace(FAST, speed=1000.0), output)
    async with running(role) as task:
        await output.until(5)
        role.toggle_pause()
        await asyncio.sleep(0.02)
        held = len(output.items)
        assert role.snapshot()["paused"]
        await asyncio.sleep(0.05)
        assert len(output.items) == held
        role.toggle_pause()
        async with asyncio.timeout(60):
            await task
    assert output.seqs() == list(range(1, 201))


async def test_jumping_back_and_forth() -> None:
    output = Collect()
    role = replayer(room(100), replace(FAST, speed=2.0, kinds=(Kind.VIDEO,)), output)
    async with running(role):
        await output.until(1)
        role.jump(90 * SECOND_US)
        role.jump(-10 * SECOND_US)
        seen = len(output.items)
        await output.until(seen + 1)
        assert 801 <= output.seqs()[-1] <= 805
        role.jump(-1000 * SECOND_US)
        async with asyncio.timeout(60):
            while output.seqs()[-1] > 10:
                await asyncio.sleep(0.01)
        role.faster()
        assert role.snapshot()["speed"] == 4.0
        role.slower()
        role.slower()
        assert role.snapshot()["speed"] == 1.0
    assert role.snapshot()["gaps"] == 0, "a jump is no gap"


async def test_nothing_can_be_jumped_to_before_it_begins() -> None:
    role = replayer(room(), FAST)
    role.jump(SECOND_US)
    shot = await run(role)
    assert shot["objects"] == 63


async def test_it_plays_at_the_pace_of_the_stamps() -> None:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    shot = await run(replayer(room(4), replace(FAST, speed=8.0)))
    assert shot["objects"] == 84
    assert 0.45 < loop.time() - start_s < 30.0


async def test_idle_outputs_are_looked_after() -> None:
    output = Collect(idle_s=0.01)
    async with running(replayer(room(), Request(speed=0.01), output)):
        async with asyncio.timeout(60):
            while output.idles < 3:
                await asyncio.sleep(0.01)


async def test_a_reader_that_ends_is_opened_again_where_it_was() -> None:
    broker, output = room(10), Collect()
    role = replayer(broker, replace(FAST, speed=20.0, kinds=(Kind.VIDEO,), follow=True), output)
    source_retry, source_module.RETRY_S = source_module.RETRY_S, 0.01
    try:
        async with running(role):
            await output.until(3)
            await broker.readers[-1].close()
            await broker.append(message(T0_US + 10 * SECOND_US, 101))
            await output.until(101)
    finally:
        source_module.RETRY_S = source_retry
    assert output.seqs() == list(range(1, 102))


async def test_a_time_limit_ends_it() -> None:
    shot = await run(replayer(room(100), Request(duration_s=0.05)))
    assert shot["objects"] < 50


async def test_stopping_before_it_has_begun_is_clean() -> None:
    role = replayer(room(), FAST)
    role.stop()
    await run(role)
