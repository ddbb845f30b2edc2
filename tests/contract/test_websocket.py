"""Pulsar's WebSocket API: what both brokers answer. Seen on Pulsar 4.0.7."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pulsar
import pytest

from tests.contract.brokers import Target, receive
from tests.contract.websockets import Api, payloads, text_of
from wtp.broker.embedded.commands import MessageIdData

SHARED = {"subscriptionType": "Shared"}


@pytest.fixture
async def api(target: Target) -> AsyncIterator[Api]:
    """The WebSocket API of the broker under contract."""
    async with Api(target.admin).used() as made:
        yield made


def place(message_id: str) -> MessageIdData:
    """A message id, decoded."""
    return MessageIdData.decode(base64.b64decode(message_id))


def path(role: str, topic: str, subscription: str = "") -> str:
    """The path of a socket."""
    return f"/{role}/{topic.replace('://', '/')}" + (subscription and f"/{subscription}")


async def test_a_message_goes_through(api: Api, topic: str) -> None:
    consumer = await api.open("consumer", topic, "sub")
    producer = await api.open("producer", topic)
    answer = await producer.ask(
        payload=text_of(b"hello"), properties={"a": "b", "n": 1}, key="k", context="c1",
        eventTime="2024-01-02T03:04:05.670Z",
    )  # fmt: skip
    message_id = answer.pop("messageId")
    assert answer == {"result": "ok", "context": "c1", "errorCode": 0, "schemaVersion": 0}
    got = await consumer.hear()
    when = got.pop("publishTime")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z", when)
    assert got == {
        "messageId": message_id, "payload": text_of(b"hello"), "redeliveryCount": 0,
        "properties": {"a": "b", "n": "1"}, "eventTime": "2024-01-02T03:04:05.67Z", "key": "k",
    }  # fmt: skip


async def test_what_is_not_given_is_left_out(api: Api, topic: str) -> None:
    consumer = await api.open("consumer", topic, "sub")
    producer = await api.open("producer", topic)
    answer = await producer.ask(payload="")
    assert set(answer) == {"result", "messageId", "errorCode", "schemaVersion"}
    got = await consumer.hear()
    assert set(got) == {"messageId", "payload", "properties", "publishTime", "redeliveryCount"}
    assert (got["payload"], got["properties"]) == ("", {})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("no json", "send-error:3"),
        ("", "send-error:3"),
        ("[1]", "send-error:3"),
        ('"x"', "send-error:3"),
        ("null", "send-error:7"),
        ("{}", "send-error:7"),
        ('{"payload": "***"}', "send-error:7"),
        ('{"payload": "a-_k"}', "send-error:7"),
        ('{"payload": "aG\\nk="}', "send-error:7"),
        ('{"payload": "aGk=", "properties": {"a": {}}}', "send-error:3"),
        ('{"payload": "aGk=", "properties": []}', "send-error:3"),
        ('{"payload": "aGk=", "sequenceId": "x"}', "send-error:3"),
        ('{"payload": "aGk=", "eventTime": "1700000000000"}', "send-error:7"),
        ('{"payload": "aGk="}', "ok"),
        ('{"payload": "aGk"}', "ok"),
        ('{"payload": "aGk=", "properties": null, "unknown": 1}', "ok"),
        ('{"payload": "aGk=", "key": "", "replicationClusters": ["x"]}', "ok"),
    ],
)
async def test_the_answer_to_a_message(api: Api, topic: str, text: str, result: str) -> None:
    producer = await api.open("producer", topic)
    await producer.ws.send_bytes(b'{"payload": "aGk="}')  # ignored
    await producer.ws.send_str(text)
    answer = await producer.hear()
    assert answer["result"] == result
    assert ("errorMsg" in answer, "messageId" in answer) == (result != "ok", result == "ok")
    assert answer["errorCode"] == 0
    await producer.publish(b"the socket stays")


async def test_a_property_without_a_value_closes(api: Api, topic: str) -> None:
    producer = await api.open("producer", topic)
    await producer.say(payload="aGk=", properties={"a": None})
    assert await producer.closing() == 1011


@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("/producer/persistent/public/nope/t", 404),
        ("/producer/persistent/nope/default/t", 404),
        ("/consumer/persistent/public/nope/t/s", 404),
        ("/reader/persistent/public/nope/t", 500),
        ("/producer/bogus/public/default/t", 500),
        ("/reader/bogus/public/default/t", 500),
        ("/consumer/bogus/public/default/t/s", 500),
        ("/producer/persistent/public/default", 500),
        ("/reader/persistent/public/default", 500),
        ("/consumer/persistent/public/default/t", 400),
        ("/consumer/persistent/public/default/t/", 400),
        ("/consumer/persistent/public/default/t/s/x", 400),
        ("/bogus/persistent/public/default/t", 404),
    ],
)
async def test_a_wrong_path_is_refused(api: Api, where: str, status: int) -> None:
    assert await api.refusal(where) == status


WRONG = {
    "producer": {
        "sendTimeoutMillis": ["x", "-1"], "compressionType": ["x", "zlib"], "hashingScheme": ["x"],
        "messageRoutingMode": ["x"], "initialSequenceId": ["x"], "producerName": [""],
    },
    "consumer": {
        "subscriptionType": ["shared", ""], "receiverQueueSize": ["x", "-1", ""],
        "ackTimeoutMillis": ["x", "5"], "subscriptionMode": ["x"], "consumerName": [""],
        "subscriptionInitialPosition": ["earliest"], "priorityLevel": ["x", "-1"],
        "maxRedeliverCount": ["x", "0"], "negativeAckRedeliveryDelay": ["x", "-5"],
        "deadLetterTopic": ["x"],
    },
}  # fmt: skip
RIGHT: dict[str, dict[str, Any]] = {
    "producer": {
        "batchingEnabled": "true", "batchingMaxMessages": 5, "maxPendingMessages": 10,
        "compressionType": "LZ4", "hashingScheme": "Murmur3_32Hash", "token": "abc",
        "messageRoutingMode": "SinglePartition", "initialSequenceId": -1, "unknown": 1,
        "sendTimeoutMillis": 1000, "batchingMaxPublishDelay": 1,
    },
    "consumer": {
        "subscriptionType": "Shared", "receiverQueueSize": 0, "ackTimeoutMillis": 1000,
        "subscriptionMode": "Durable", "consumerName": "me", "priorityLevel": 1,
        "subscriptionInitialPosition": "Earliest", "maxRedeliverCount": 3, "pullMode": "true",
        "negativeAckRedeliveryDelay": 0, "deadLetterTopic": "", "cryptoFailureAction": "DISCARD",
        "unknown": 1, "token": "abc",
    },
    "reader": {
        "readerName": "me", "receiverQueueSize": 5, "messageId": "earliest",
        "cryptoFailureAction": "x", "token": "abc",
    },
}  # fmt: skip


async def test_wrong_parameters_are_refused(api: Api, topic: str) -> None:
    found = {}
    for role, names in WRONG.items():
        where = path(role, topic, "sub" if role == "consumer" else "")
        for name, values in names.items():
            for value in values:
                found[role, name, value] = await api.refusal(where, **{name: value})
    assert set(found.values()) == {400}, found
    for name, value in (("messageId", "x"), ("receiverQueueSize", "x")):
        assert await api.refusal(path("reader", topic), **{name: value}) == 500


@pytest.mark.parametrize("role", sorted(RIGHT))
async def test_right_parameters_are_taken(api: Api, topic: str, role: str) -> None:
    where = path(role, topic, "sub" if role == "consumer" else "")
    assert await api.refusal(where, **RIGHT[role]) == 101


async def test_names_that_are_taken(api: Api, topic: str) -> None:
    await api.open("producer", topic, producerName="me")
    assert await api.refusal(path("producer", topic), producerName="me") == 409
    await api.open("consumer", topic, "sub")
    assert await api.refusal(path("consumer", topic, "sub")) == 409
    assert await api.refusal(path("consumer", topic, "sub"), **SHARED) == 409


async def test_a_plain_request_is_no_socket(target: Target) -> None:
    url = f"{target.admin}/ws/v2/producer/persistent/public/default/t"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 405


async def test_unacknowledged_messages_are_bounded(api: Api, topic: str) -> None:
    consumer = await api.open("consumer", topic, "sub", receiverQueueSize=3)
    producer = await api.open("producer", topic)
    await producer.publish(*(b"%d" % n for n in range(7)))
    first = await consumer.messages(3)
    assert await consumer.silent()
    await consumer.say(messageId=first[0]["messageId"])
    assert payloads(await consumer.messages(1)) == [b"3"]
    assert await consumer.silent()


async def test_what_is_acknowledged_is_done(api: Api, topic: str) -> None:
    consumer = await api.open("consumer", topic, "sub")
    producer = await api.open("producer", topic)
    await producer.publish(b"0", b"1", b"2")
    got = await consumer.messages(3)
    for one in (got[0], got[2]):
        await consumer.say(messageId=one["messageId"])
    assert await consumer.ask(type="isEndOfTopic") == {"endOfTopic": False}
    await consumer.ws.close()
    again = await api.again("consumer", topic, "sub")
    assert payloads(await again.messages(1)) == [b"1"]
    assert await again.silent()


@pytest.mark.parametrize(
    "text", ["x", "{}", '{"messageId": "zz"}', '{"messageId": "AAAA"}', '{"type": "permit"}', "[]"]
)
async def test_a_command_that_makes_no_sense_ends_the_socket(
    api: Api, topic: str, text: str
) -> None:
    consumer = await api.open("consumer", topic, "sub")
    await consumer.ws.send_str(text)
    if text == "[]":  # Pulsar ignores it
        return
    assert await consumer.closing() in (1006, 1011)


async def test_negative_acknowledgement(api: Api, topic: str) -> None:
    consumer = await api.open("consumer", topic, "sub", **SHARED, negativeAckRedeliveryDelay=100)
    producer = await api.open("producer", topic)
    await producer.publish(b"0", b"1")
    got = await consumer.messages(2)
    for count in (1, 2):
        await consumer.say(type="negativeAcknowledge", messageId=got[1]["messageId"])
        again = await consumer.hear()
        assert (again["messageId"], again["redeliveryCount"]) == (got[1]["messageId"], count)


async def test_acknowledgement_timeout_and_dead_letters(api: Api, topic: str) -> None:
    dead = await api.open("consumer", f"{topic}-dead", "sub")
    consumer = await api.open(
        "consumer", topic, "sub", **SHARED, ackTimeoutMillis=1000, maxRedeliverCount=1,
        deadLetterTopic=f"{topic}-dead",
    )  # fmt: skip
    producer = await api.open("producer", topic)
    (where,) = await producer.publish(b"x", key="k", properties={"a": "b"})
    assert [m["redeliveryCount"] for m in await consumer.messages(2)] == [0, 1]
    letter = await dead.hear()
    origin = f"{place(where).ledger}:{place(where).entry}:-1"
    assert letter["properties"] == {
        "a": "b", "REAL_TOPIC": topic, "REAL_SUBSCRIPTION": "sub", "ORIGIN_MESSAGE_ID": origin,
        "ORIGIN_MESSAGE_IDY_TIME": origin,
    }  # fmt: skip
    assert (letter["key"], payloads([letter])) == ("k", [b"x"])
    assert await consumer.silent()


async def test_pull_mode(api: Api, topic: str) -> None:
    consumer = await api.open("consumer", topic, "sub", pullMode="true")
    producer = await api.open("producer", topic)
    await producer.publish(b"0", b"1", b"2")
    assert await consumer.silent()
    await consumer.say(type="permit", permitMessages=2)
    assert payloads(await consumer.messages(2, ack=True)) == [b"0", b"1"]
    assert await consumer.silent()


async def test_unsubscribe(api: Api, target: Target, topic: str) -> None:
    consumer = await api.open("consumer", topic, "sub")
    where = topic.replace("://", "/")
    assert target.call("GET", f"{where}/subscriptions").json == ["sub"]
    await consumer.say(type="unsubscribe")
    assert await consumer.ask(type="isEndOfTopic") == {"endOfTopic": False}
    for _ in range(50):
        if target.call("GET", f"{where}/subscriptions").json == []:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("The subscription is still there.")


async def test_a_subscription_that_is_not_durable(api: Api, target: Target, topic: str) -> None:
    producer = await api.open("producer", topic)
    consumer = await api.open("consumer", topic, "sub", subscriptionMode="NonDurable")
    await producer.publish(b"0")
    assert payloads(await consumer.messages(1)) == [b"0"]
    stats = target.call("GET", topic.replace("://", "/") + "/stats").json
    assert not stats["subscriptions"]["sub"]["isDurable"]


async def test_a_reader_begins_behind_a_message(api: Api, target: Target, topic: str) -> None:
    keeper = await api.open("consumer", topic, "keeper")
    producer = await api.open("producer", topic)
    ids = await producer.publish(b"0", b"1", b"2")
    reader = await api.open("reader", topic, messageId="earliest")
    assert payloads(await reader.messages(3)) == [b"0", b"1", b"2"]
    behind = await api.open("reader", topic, messageId=ids[0])
    assert payloads(await behind.messages(2)) == [b"1", b"2"]
    latest = await api.open("reader", topic)
    await producer.publish(b"3")
    assert payloads(await latest.messages(1)) == [b"3"]
    assert not keeper.ws.closed


async def test_a_reader_is_pushed_as_much_as_it_allows(api: Api, topic: str) -> None:
    reader = await api.open("reader", topic, receiverQueueSize=2)
    producer = await api.open("producer", topic)
    await producer.publish(*(b"%d" % n for n in range(6)))
    first = await reader.messages(2)
    assert await reader.silent()
    await reader.say(messageId=first[0]["messageId"])
    assert payloads(await reader.messages(1)) == [b"2"]
    await reader.say(type="anything is a permit")
    assert payloads(await reader.messages(1)) == [b"3"]
    assert await reader.ask(type="isEndOfTopic") == {"endOfTopic": False}
    assert await reader.silent()


async def test_sequences_go_on_and_repetitions_are_dropped(
    api: Api, target: Target, topic: str
) -> None:
    keeper = await api.open("consumer", topic, "keeper")
    producer = await api.open("producer", topic, producerName="me", initialSequenceId=9)
    await producer.publish(b"10", b"11")
    await producer.ws.close()
    producer = await api.again("producer", topic, "", producerName="me", initialSequenceId=9)
    ids = await producer.publish(b"10", b"11", b"12")
    await producer.ws.close()
    expected = [b"10", b"11", b"12"] if target.deduplicates else [b"10", b"11"] * 2 + [b"12"]
    assert payloads(await keeper.messages(len(expected))) == expected
    if target.deduplicates:
        missing = (1 << 64) - 1
        assert [(place(one).ledger, place(one).entry) for one in ids[:2]] == [(missing,) * 2] * 2
        producer = await api.again("producer", topic, "", producerName="me")
        await producer.publish(b"13")
        assert payloads(await keeper.messages(1)) == [b"13"]


async def test_partitions(api: Api, target: Target, topic: str) -> None:
    assert target.call("PUT", topic.replace("://", "/") + "/partitions", 3).status == 204
    consumer = await api.open("consumer", topic, "sub")
    reader = await api.open("reader", topic, messageId="earliest")
    producer = await api.open("producer", topic)
    ids = []
    for number in range(6):
        ids += await producer.publish(b"%d" % number, key=f"k{number}")
    assert [place(one).partition for one in ids] == [2, 0, 1, 2, 0, 1]  # Java's hash of the key
    got = await consumer.messages(6, ack=True)
    assert sorted(payloads(got)) == [b"%d" % number for number in range(6)]
    assert {m["messageId"] for m in got} == set(ids)
    assert len(await reader.messages(6)) == 6
    await producer.publish(b"7", b"8", b"9")
    spread = {place(m["messageId"]).partition for m in await consumer.messages(3)}
    assert len(spread) == 1  # one partition for all that has no key
    producer = await api.open("producer", topic, messageRoutingMode="RoundRobinPartition")
    await producer.publish(b"a", b"b", b"c")
    spread = {place(m["messageId"]).partition for m in await consumer.messages(3)}
    assert spread == {0, 1, 2}


async def test_several_consumers_share(api: Api, topic: str) -> None:
    sockets = [
        await api.open("consumer", topic, "sub", **SHARED, receiverQueueSize=1) for _ in range(2)
    ]
    producer = await api.open("producer", topic)
    await producer.publish(b"0", b"1")
    got = [payloads(await socket.messages(1))[0] for socket in sockets]
    assert sorted(got) == [b"0", b"1"]


@pytest.mark.parametrize("codec", ["NONE", "LZ4", "ZLib", "SNAPPY"])
async def test_native_batches_arrive_one_by_one(
    api: Api, client: pulsar.Client, topic: str, codec: str
) -> None:
    consumer = await api.open("consumer", topic, "sub")
    kind = getattr(pulsar.CompressionType, codec)

    def produce() -> None:
        producer = client.create_producer(
            topic, batching_enabled=True, batching_max_messages=3, compression_type=kind,
            batching_max_publish_delay_ms=2000,
        )  # fmt: skip
        for number in range(3):
            producer.send_async(
                b"%d" % number * 500, None, properties={"n": str(number)},
                partition_key=f"k{number}", event_timestamp=1_700_000_000_000 + number,
            )  # fmt: skip
        producer.flush()
        producer.close()

    await asyncio.to_thread(produce)
    got = await consumer.messages(3)
    assert payloads(got) == [b"%d" % number * 500 for number in range(3)]
    assert [m["key"] for m in got] == ["k0", "k1", "k2"]
    assert [m["properties"] for m in got] == [{"n": str(number)} for number in range(3)]
    assert got[1]["eventTime"] == "2023-11-14T22:13:20.001Z"
    places = [place(m["messageId"]) for m in got]
    assert [(one.batch_index, one.batch_size) for one in places] == [(0, 3), (1, 3), (2, 3)]
    for one in got[:2]:
        await consumer.say(messageId=one["messageId"])
    assert await consumer.ask(type="isEndOfTopic") == {"endOfTopic": False}
    await consumer.ws.close()
    again = await api.again("consumer", topic, "sub")
    assert len(await again.messages(3, ack=True)) == 3  # a batch is acknowledged as a whole
    assert await again.ask(type="isEndOfTopic") == {"endOfTopic": False}
    await again.ws.close()
    last = await api.again("consumer", topic, "sub")
    assert await last.silent()


async def test_native_chunks_arrive_whole(
    api: Api, client: pulsar.Client, target: Target, topic: str
) -> None:
    consumer = await api.open("consumer", topic, "sub")
    large = bytes(range(256)) * 21_000  # over the largest message of 5 MiB

    def produce() -> None:
        producer = client.create_producer(topic, chunking_enabled=True)
        producer.send(large)
        producer.send(b"small")
        producer.close()

    await asyncio.to_thread(produce)
    got = await consumer.messages(2, ack=True)
    assert payloads(got) == [large, b"small"]
    assert await consumer.ask(type="isEndOfTopic") == {"endOfTopic": False}
    await consumer.ws.close()
    again = await api.again("consumer", topic, "sub")
    assert await again.silent()


@pytest.mark.parametrize("codec", ["NONE", "ZLIB", "LZ4"])
async def test_native_consumers_read_it(
    api: Api, client: pulsar.Client, topic: str, codec: str
) -> None:
    consumer = await asyncio.to_thread(client.subscribe, topic, "sub")
    producer = await api.open("producer", topic, producerName="me", compressionType=codec)
    await producer.publish(
        b"x" * 1000, key="k", properties={"a": "\u00e4"}, eventTime="2024-01-02T03:04:05.678+01:00"
    )
    message = await asyncio.to_thread(consumer.receive, 8000)
    assert message.data() == b"x" * 1000
    assert (message.partition_key(), message.properties()) == ("k", {"a": "\u00e4"})
    assert message.event_timestamp() == 1_704_161_045_678
    assert message.producer_name() == "me"


async def test_delayed_messages(api: Api, topic: str) -> None:
    consumer = await api.open("consumer", topic, "sub", **SHARED)
    producer = await api.open("producer", topic)
    await producer.publish(b"later", deliverAfterMs=1500)
    await producer.publish(b"now")
    assert payloads(await consumer.messages(2)) == [b"now", b"later"]


async def test_a_topic_that_is_not_stored(api: Api, topic: str) -> None:
    topic = topic.replace("persistent", "non-persistent", 1)
    producer = await api.open("producer", topic)
    await producer.publish(b"nobody hears it")
    consumer = await api.open("consumer", topic, "sub")
    await producer.publish(b"1")
    assert payloads(await consumer.messages(1)) == [b"1"]


async def test_a_message_that_is_too_large(api: Api, target: Target, topic: str) -> None:
    producer = await api.open("producer", topic)
    if target.name != "factory":  # whose frames are smaller than its messages
        answer = await producer.ask(payload=text_of(bytes(5 * 1024 * 1024)), context="big")
        assert (answer["result"], answer["context"]) == ("send-error:8", "big")
        assert "messageId" not in answer
        await producer.publish(bytes(5 * 1024 * 1024 - 1000))
    with_quotes = text_of(bytes(7 * 1024 * 1024))
    with contextlib.suppress(ConnectionError):  # it may be closed while this is sent
        await producer.say(payload=with_quotes)
    assert await producer.closing() in (1009, 1006)


async def test_pings_are_answered(api: Api, topic: str) -> None:
    producer = await api.open("producer", topic)
    socket = producer.ws
    await socket.ping(b"are you there?")
    await producer.publish(b"0")
    assert not socket.closed


async def test_a_slow_reader_gets_everything(api: Api, client: pulsar.Client, topic: str) -> None:
    consumer = await api.open("consumer", topic, "sub")
    producer = await asyncio.to_thread(client.create_producer, topic)

    def produce() -> None:
        for _ in range(300):
            producer.send_async(bytes(20_000), None)
        producer.flush()

    await asyncio.to_thread(produce)
    got = await consumer.messages(300, ack=True)
    assert {len(one) for one in payloads(got)} == {20_000}


async def test_both_ways_are_one_topic(api: Api, client: pulsar.Client, topic: str) -> None:
    """Native and WebSocket consumers share a subscription's place."""
    consumer = await api.open("consumer", topic, "sub")
    producer = await api.open("producer", topic)
    await producer.publish(b"0", b"1", b"2")
    await consumer.messages(2, ack=True)
    assert await consumer.hear()
    assert await consumer.ask(type="isEndOfTopic") == {"endOfTopic": False}
    await consumer.ws.close()
    native = await asyncio.to_thread(subscribe, client, topic)
    assert await asyncio.to_thread(receive, native, 1) == ["2"]


def subscribe(client: pulsar.Client, topic: str, timeout_s: float = 60.0) -> pulsar.Consumer:
    """Subscribe as soon as a broker has noticed that the consumer before has gone."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            return client.subscribe(topic, "sub")
        except pulsar.ConsumerBusy:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.mark.tool("node")
async def test_the_websocket_of_browsers_is_enough(target: Target, topic: str) -> None:
    """Node brings the same WebSocket as browsers have."""
    script = Path(__file__).with_name("sockets.mjs")
    node = await asyncio.create_subprocess_exec(
        "node", "--experimental-websocket", str(script),
        f"{target.admin.replace('http', 'ws', 1)}/ws/v2", topic.replace("://", "/"), "20",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, faults = await node.communicate()
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert node.returncode == 0, faults.decode()
    found = json.loads(out)
    assert [one["text"] for one in found["messages"]] == [f"line {n}" for n in range(20)]
    assert {one["key"] for one in found["messages"]} == {"k"}
    assert [one["context"] for one in found["acks"]] == [str(n) for n in range(20)]
    ids = [one["id"] for one in found["messages"]]
    assert [one["messageId"] for one in found["acks"]] == ids
