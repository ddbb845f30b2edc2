"""Playing into another room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.replayer.fakes import (
    SETTINGS,
    T0_US,
    FakeBroker,
    FakeMessage,
    foreign,
    message,
    replayer,
    room,
    run,
    topic_of,
)
from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, UsageError
from wtp.model import Kind
from wtp.replayer import into as into_module
from wtp.replayer import run as run_module
from wtp.replayer.into import IntoRoom, sequence_id
from wtp.replayer.request import Request
from wtp.replayer.run import Replayer
from wtp.replayer.when import Moment

REQUEST = Request(speed=0.0, into="copy")
CREATE = override(SETTINGS, {"rooms.create": True})


@pytest.fixture(autouse=True)
def _broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def there(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(run_module, "reach", there)


def copying(
    broker: FakeBroker, request: Request = REQUEST, settings: Settings = CREATE
) -> Replayer:
    sink = IntoRoom(settings, request, lambda: broker, broker.directory)
    return replayer(broker, request, sink=sink, settings=settings)


async def test_bytes_and_stamps_stay_and_it_says_replayed() -> None:
    broker = room(2)
    shot = await run(copying(broker))
    assert shot["delivered"] == len(broker.sent) == 42
    by_topic = {sent.topic for sent in broker.sent}
    assert by_topic == {topic_of(kind, "copy") for kind in ("video", "audio", "chat")}
    first = broker.sent[0]
    source = broker.topics[topic_of("video")][0]
    assert first.properties == {**source.properties, "replayed": "1"}
    assert (first.payload, first.event_ms) == (source.payload, T0_US // 1000)
    assert first.key == "copy/cam/video"
    assert broker.created == ["public/copy"]


async def test_live_kinds_have_no_sequence_and_reliable_ones_a_stable_one() -> None:
    broker = room(2)
    await run(copying(broker))
    video = [sent for sent in broker.sent if "/video" in sent.topic]
    chat = [sent for sent in broker.sent if "/chat" in sent.topic]
    assert {(sent.name, sent.seq) for sent in video} == {("", None)}
    assert len({sent.name for sent in chat}) == 1
    numbers = [sent.seq or 0 for sent in chat]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 0


async def test_the_same_command_again_adds_only_what_is_missing() -> None:
    broker = room(2)
    request = replace(REQUEST, kinds=(Kind.CHAT,))
    await run(copying(broker, request))
    await broker.append(message(T0_US + 5_000_000, 3, kind=Kind.CHAT))
    shot = await run(copying(broker, request))
    assert shot["dropped"] == {"there-already": 2}
    assert len(broker.sent) == 3
    other = replace(request, start=Moment(T0_US))
    shot = await run(copying(broker, other))
    assert shot["delivered"] == 3, "from another beginning it is another replay"


@pytest.mark.parametrize("into", ["default"])
async def test_a_room_is_not_replayed_into_itself(into: str) -> None:
    request = replace(REQUEST, into=into)
    with pytest.raises(UsageError, match="into itself"):
        await run(copying(room(), request))


async def test_a_missing_room_is_made_only_where_that_is_allowed() -> None:
    broker = room()
    with pytest.raises(NotFound, match="no room 'copy' to replay into"):
        await run(copying(broker, settings=SETTINGS))
    assert broker.sent == []
    assert broker.created == []


async def test_messages_that_are_not_ours_keep_their_properties() -> None:
    broker = FakeBroker()
    await broker.append(foreign(T0_US // 1000))
    await run(copying(broker))
    (sent,) = broker.sent
    assert sent.topic == topic_of("video", "copy")
    assert sent.properties == {"replayed": "1"}
    assert (sent.key, sent.event_ms) == ("", T0_US // 1000)


async def test_a_topic_of_any_origin_needs_a_kind() -> None:
    name = "persistent://public/default/front-door"
    broker = FakeBroker()
    await broker.append(FakeMessage(name, "", {}, b"x", T0_US // 1000, 0, "1:0"))
    shot = await run(copying(broker, replace(REQUEST, topic=name)))
    assert shot["dropped"] == {"no-kind": 1}
    shot = await run(copying(broker, replace(REQUEST, topic=name, kinds=(Kind.SCREEN,))))
    assert shot["delivered"] == 1
    assert broker.sent[0].topic == topic_of("screen", "copy")


async def test_a_topic_of_the_original_platform_says_its_kind() -> None:
    name = "persistent://public/default/video-topic"
    broker = FakeBroker()
    await broker.append(FakeMessage(name, "", {}, b"x", T0_US // 1000, 0, "1:0"))
    shot = await run(copying(broker, replace(REQUEST, topic=name)))
    assert shot["delivered"] == 1
    assert broker.sent[0].topic == topic_of("video", "copy")


async def test_objects_without_receipt_are_counted() -> None:
    broker = room()
    broker.send_error = BrokerUnavailable("gone")
    shot = await run(copying(broker))
    assert shot["dropped"] == {"broker": 63}


async def test_two_of_the_same_replays_say_so() -> None:
    broker = room()
    broker.busy = True
    with pytest.raises(BrokerError, match="by somebody else"):
        await run(copying(broker, replace(REQUEST, kinds=(Kind.CHAT,))))


async def test_bytes_and_producers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(into_module, "UNRECEIPTED_BYTES", 10)
    monkeypatch.setattr(into_module, "MAX_PRODUCERS", 1)
    broker = room(2)
    shot = await run(copying(broker))
    assert shot["delivered"] == 42


def test_a_sequence_id_rises_with_the_place_and_fits() -> None:
    places = ["0:0", "0:0:0", "0:0:1", "0:1", "1:0", "1:0:1000", "1:1", f"{2**27 - 1}:5"]
    numbers = [sequence_id(place) or 0 for place in places]
    assert numbers == sorted(set(numbers))
    assert max(numbers) < 2**63
    assert numbers[0] > 0
    assert sequence_id(f"{2**27}:0") is None
    assert sequence_id(f"0:{2**26}") is None
