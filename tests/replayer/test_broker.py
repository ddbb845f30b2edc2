"""Replays against the embedded broker and a real Apache Pulsar."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.pulsar import RealPulsar
from tests.replayer.fakes import Collect, run
from tests.replayer.rooms import RATES, RunningRoom, rhythm, running_room
from wtp.broker.connect import administer, connect
from wtp.config.load import override
from wtp.errors import NotFound
from wtp.model import Kind
from wtp.replayer.into import IntoRoom
from wtp.replayer.placed import Played
from wtp.replayer.request import Request
from wtp.replayer.run import Replayer
from wtp.replayer.when import Moment

pytestmark = pytest.mark.e2e

SECOND_US = 1_000_000


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.pulsar)])
async def there(request: pytest.FixtureRequest) -> AsyncIterator[RunningRoom]:
    """A room on each of the two brokers."""
    if request.param == "embedded":
        url, admin = request.getfixturevalue("embedded")
    else:
        pulsar: RealPulsar = request.getfixturevalue("real_pulsar")
        url, admin = pulsar.url, pulsar.admin
    request.getfixturevalue("clean_home")  # the variable that names a real Pulsar is read by now
    made = await running_room(url, admin)
    yield made
    await made.client.close()


def by_kind(output: Collect) -> dict[Kind, list[int]]:
    """Sequence numbers in the order they were played."""
    found: dict[Kind, list[int]] = {kind: [] for kind in RATES}
    for item in output.items:
        assert item.obj is not None
        found[item.obj.kind].append(item.obj.seq)
    return found


def assert_in_step(output: Collect) -> None:
    times = [item.at_us for item in output.items if isinstance(item, Played)]
    assert times == sorted(times)


async def test_the_whole_past_in_step(there: RunningRoom) -> None:
    start_us = there.clock.now_us() - 60 * SECOND_US
    await there.publish(rhythm(5), start_us)
    output = Collect()
    shot = await run(there.replayer(output))
    assert_in_step(output)
    assert by_kind(output) == {kind: list(range(1, 5 * rate + 1)) for kind, rate in RATES.items()}
    assert (shot["gaps"], shot["duplicates"], shot["late"]) == (0, 0, 0)


async def test_a_part_of_the_past_by_time_and_by_message(there: RunningRoom) -> None:
    start_us = there.clock.now_us()
    await there.publish(rhythm(8), start_us, live=True)
    output = Collect()
    await run(
        there.replayer(
            output,
            start=Moment(start_us + 7 * SECOND_US),
            end=Moment(start_us + 15 * SECOND_US // 2),
        )
    )
    assert by_kind(output)[Kind.VIDEO] == list(range(211, 227))
    assert by_kind(output)[Kind.CHAT] == [15, 16]
    assert_in_step(output)
    middle = output.items[10].message
    kind = Kind(middle.properties["kind"])
    again = Collect()
    await run(there.replayer(again, kinds=(kind,), start=Moment(position=middle.position)))
    assert again.items[0].message.position == middle.position
    with pytest.raises(NotFound, match="is not in"):
        await run(there.replayer(again, kinds=(kind,), start=Moment(position="8000000:1")))


async def test_following_a_live_publisher_goes_over_without_gap_or_repeat(
    there: RunningRoom,
) -> None:
    """The numbers of every track run from 1 to the last one, over the past and on live."""
    start_us = there.clock.now_us() - 6 * SECOND_US
    objects = rhythm(90)
    await there.publish([one for one in objects if one[0] < 5 * SECOND_US], start_us)
    output, enough, sent = Collect(), asyncio.Event(), Counter[Kind]()
    role = there.replayer(output, follow=True)

    def until_enough() -> Iterator[tuple[int, Kind, int]]:
        for one in objects:
            if enough.is_set() and one[0] >= 5 * SECOND_US:
                return
            sent[one[1]] = one[2]
            if one[0] >= 5 * SECOND_US:
                yield one

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(there.publish(until_enough(), start_us, live=True))
        group.create_task(role.run(lambda _: None))
        while sum(item.live for item in output.items) < 100:
            await asyncio.sleep(0.01)
        enough.set()
        await output.until(sum(sent.values()))
        role.stop()
    assert by_kind(output) == {kind: list(range(1, sent[kind] + 1)) for kind in RATES}
    shot = role.snapshot()
    assert (shot["gaps"], shot["duplicates"]) == (0, 0)
    assert not output.items[0].live


async def test_into_a_room_and_again(there: RunningRoom) -> None:
    await there.publish(rhythm(2), there.clock.now_us() - 60 * SECOND_US)
    settings = there.settings
    request = Request(speed=0.0, into=f"{there.name}-copy")

    def copying() -> Replayer:
        broker = settings.broker
        sink = IntoRoom(settings, request, lambda: connect(broker), lambda: administer(broker))
        return Replayer(settings, request, sink)

    shot = await run(copying())
    assert shot["delivered"] == shot["objects"] == 2 * sum(RATES.values())
    shot = await run(copying())
    assert shot["dropped"] == {"there-already": 4}, "chat is stored once"
    copy = override(settings, {"rooms.room": request.into})
    source, output = Collect(), Collect()
    await run(there.replayer(source, kinds=(Kind.CHAT,)))
    reading = RunningRoom(copy, there.client, there.clock)
    await run(reading.replayer(output, kinds=(Kind.CHAT,)))
    assert [item.message.payload for item in output.items] == [
        item.message.payload for item in source.items
    ]
    stamps = [
        [(item.obj.capture_us, item.obj.seq) for item in items if item.obj]
        for items in (output.items, source.items)
    ]
    assert stamps[0] == stamps[1]
    assert all(item.obj and item.obj.replayed for item in output.items)


async def test_the_newest_batch_is_read_to_its_end(there: RunningRoom) -> None:
    """Another client may send in batches; the end of the topic is then within an entry."""
    import pulsar

    def send() -> None:
        client = pulsar.Client(
            there.settings.broker.url,
            logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, "/dev/null"),
        )
        producer = client.create_producer(
            there.topic(Kind.DATA), batching_enabled=True, batching_max_publish_delay_ms=200
        )
        for number in range(20):
            producer.send_async(b"%d" % number, lambda *_: None)
        producer.flush()
        client.close()

    await asyncio.to_thread(send)
    output = Collect()
    shot = await run(there.replayer(output))
    assert [item.message.payload for item in output.items] == [b"%d" % n for n in range(20)]
    assert shot["placed_by"] == {"publish": 20}


async def test_partitions_in_step(there: RunningRoom) -> None:
    async with administer(there.settings.broker) as directory:
        await directory.create_topic(there.topic(Kind.VIDEO), 3)
    await there.publish(rhythm(3), there.clock.now_us() - 60 * SECOND_US)
    output = Collect()
    shot = await run(there.replayer(output, kinds=(Kind.VIDEO,)))
    assert len(shot["topics"]) == 3
    assert by_kind(output)[Kind.VIDEO] == list(range(1, 91))


async def test_going_back_reads_again(there: RunningRoom) -> None:
    start_us = there.clock.now_us() - 60 * SECOND_US
    await there.publish(rhythm(20), start_us)
    output = Collect()
    role = there.replayer(output, speed=4.0, kinds=(Kind.VIDEO,))
    task = asyncio.create_task(role.run(lambda _: None))
    async with asyncio.timeout(60):
        await output.until(10)
        role.jump(15 * SECOND_US)
        while by_kind(output)[Kind.VIDEO][-1] < 440:
            await asyncio.sleep(0.01)
        role.jump(-10 * SECOND_US)
        while by_kind(output)[Kind.VIDEO][-1] > 400:
            await asyncio.sleep(0.01)
        role.stop()
        await task
    assert role.ledger.balanced
