"""The admin REST: codes and bodies as a real Pulsar 4.0.7 gives them."""

from __future__ import annotations

import io
import json
import zlib
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from tests.broker_storage.fakes import FakeBroker
from tests.broker_storage.logs import TOPIC, blob, varint
from wtp import __version__
from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.http import HttpSide
from wtp.broker.embedded.statsum import sum_stats
from wtp.broker.embedded.values import EARLIEST, LATEST, CursorState, Position
from wtp.errors import StorageError

T = "persistent/public/default/video"
N = "namespaces/public/default"


async def ask(
    web: aiohttp.ClientSession, method: str, path: str, body: object = ..., **more: Any
) -> tuple[int, Any]:
    """Make a request; returns status, and the JSON or text of the answer."""
    if body is not ...:
        more["json"] = body
    elif method == "PUT":
        more["headers"] = {"Content-Type": "application/json"}
    async with web.request(method, path, **more) as answer:
        text = await answer.text()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text


def test_the_fake_is_a_broker(broker: FakeBroker) -> None:
    real: Broker = broker
    assert real is broker


async def test_cluster_and_broker(web: aiohttp.ClientSession) -> None:
    assert await ask(web, "GET", "clusters") == (200, ["standalone"])
    status, found = await ask(web, "GET", "clusters/standalone")
    assert status == 200
    assert found["brokerServiceUrl"] == "pulsar://127.0.0.1:6650"
    assert found["serviceUrl"] == "http://[::1]:8080"
    assert (await ask(web, "GET", "clusters/other"))[0] == 404
    assert await ask(web, "GET", "brokers/health") == (200, "ok")
    assert await ask(web, "GET", "brokers/version") == (200, f"wtp-{__version__}")
    assert await ask(web, "GET", "brokers/standalone") == (200, ["[::1]:8080"])
    status, found = await ask(web, "GET", "brokers/configuration/runtime")
    assert found["brokerDeduplicationEnabled"] == "true"


async def test_tenants(web: aiohttp.ClientSession) -> None:
    assert await ask(web, "GET", "tenants") == (200, ["public"])
    body = {"allowedClusters": ["standalone"]}
    assert await ask(web, "PUT", "tenants/acme", body) == (204, "")
    assert (await ask(web, "PUT", "tenants/acme", body))[0] == 409
    assert (await ask(web, "PUT", "tenants/a b", body))[0] == 412
    assert await ask(web, "GET", "tenants/acme") == (
        200,
        {"adminRoles": [], "allowedClusters": ["standalone"]},
    )
    assert await ask(web, "PUT", "namespaces/acme/x") == (204, "")
    assert (await ask(web, "DELETE", "tenants/acme"))[0] == 409
    assert await ask(web, "DELETE", "namespaces/acme/x") == (204, "")
    assert await ask(web, "DELETE", "tenants/acme") == (204, "")
    assert (await ask(web, "GET", "tenants/acme"))[0] == 404


async def test_namespaces(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    assert await ask(web, "GET", "namespaces/public") == (200, ["public/default"])
    limits = {"retentionTimeInMinutes": 5, "retentionSizeInMB": 6}
    body = {"deduplicationEnabled": True, "retention_policies": limits}
    assert await ask(web, "PUT", "namespaces/public/lab", body) == (204, "")
    assert (await ask(web, "PUT", "namespaces/public/lab"))[0] == 409
    assert (await ask(web, "PUT", "namespaces/nobody/lab"))[0] == 404
    assert (await ask(web, "PUT", "namespaces/public/a b"))[0] == 412
    status, found = await ask(web, "GET", "namespaces/public/lab")
    assert status == 200
    assert found["replication_clusters"] == ["standalone"]
    assert found["retention_policies"] == limits
    assert found["deduplicationEnabled"] is True
    assert (await ask(web, "GET", "namespaces/public/none"))[0] == 404
    broker.store.open_topic("persistent://public/lab/x")
    broker.volatile.append("non-persistent://public/lab/y")
    assert await ask(web, "GET", "namespaces/public/lab/topics") == (
        200,
        ["persistent://public/lab/x", "non-persistent://public/lab/y"],
    )
    assert (await ask(web, "GET", "namespaces/public/lab/topics?mode=PERSISTENT"))[1] == [
        "persistent://public/lab/x"
    ]
    assert (await ask(web, "DELETE", "namespaces/public/lab"))[0] == 409
    assert await ask(web, "DELETE", "namespaces/public/lab?force=true") == (204, "")
    assert (await ask(web, "DELETE", "namespaces/public/lab"))[0] == 404


async def test_namespace_policies(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    limits = {"retentionTimeInMinutes": 5, "retentionSizeInMB": -1}
    assert await ask(web, "POST", f"{N}/retention", limits) == (204, "")
    assert await ask(web, "GET", f"{N}/retention") == (200, limits)
    assert await ask(web, "POST", f"{N}/deduplication", False) == (204, "")
    assert await ask(web, "GET", f"{N}/deduplication") == (200, False)
    assert broker.changed == ["public/default"] * 2
    assert not broker.store.deduplication(TOPIC)
    assert await ask(web, "DELETE", f"{N}/retention") == (204, "")
    assert await ask(web, "GET", f"{N}/retention") == (200, "")
    odd = {"retentionTimeInMinutes": 0, "retentionSizeInMB": 5}
    assert (await ask(web, "POST", f"{N}/retention", odd))[0] == 400
    assert (await ask(web, "POST", f"{N}/deduplication", "maybe"))[0] == 400
    assert (await ask(web, "GET", "namespaces/public/none/retention"))[0] == 404
    assert (await ask(web, "POST", "namespaces/public/none/retention", limits))[0] == 404


async def test_creating_and_deleting_topics(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    assert await ask(web, "PUT", T) == (204, "")
    assert await ask(web, "PUT", T) == (409, {"reason": "This topic already exists"})
    assert (await ask(web, "PUT", "persistent/public/none/x"))[0] == 404
    assert await ask(web, "GET", "persistent/public/default") == (200, [TOPIC])
    assert (await ask(web, "GET", "persistent/public/none"))[0] == 404
    broker.busy.add(TOPIC)
    assert (await ask(web, "DELETE", T))[0] == 412
    assert await ask(web, "DELETE", f"{T}?force=true") == (204, "")
    assert (await ask(web, "DELETE", T))[0] == 404


async def test_names_in_paths_are_unescaped(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    path = URL("persistent/public/default/a%20b%3F%C3%BC", encoded=True)
    async with web.put(path, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 204
    assert broker.store.topics("public/default") == ["persistent://public/default/a b?ü"]
    path = URL("persistent/public/default/a%2Fb", encoded=True)
    async with web.put(path, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 412


async def test_partitions(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    assert await ask(web, "PUT", f"{T}/partitions", 3) == (204, "")
    assert (await ask(web, "PUT", f"{T}/partitions", 3))[0] == 409
    assert await ask(web, "GET", f"{T}/partitions") == (200, {"partitions": 3, "deleted": False})
    assert await ask(web, "GET", "persistent/public/default/partitioned") == (200, [TOPIC])
    assert len((await ask(web, "GET", "persistent/public/default"))[1]) == 3
    assert (await ask(web, "POST", f"{T}/partitions", 2))[0] == 422
    assert await ask(web, "POST", f"{T}/partitions", 3) == (204, "")
    assert (await ask(web, "PUT", "persistent/public/default/x/partitions", 0))[0] == 406
    assert (await ask(web, "PUT", "persistent/public/default/x/partitions", "3"))[0] == 400
    assert (await ask(web, "GET", "persistent/public/default/x/partitions"))[0] == 404
    for number in range(3):
        name = f"{TOPIC}-partition-{number}"
        broker.store.open_topic(name).append(b"x", 1, 1)
        broker.store.save_cursor(name, "s", CursorState())
    status, found = await ask(web, "GET", f"{T}/partitioned-stats")
    assert status == 200
    assert found["msgInCounter"] == 3
    assert found["averageMsgSize"] == 10
    assert found["metadata"]["partitions"] == 3
    assert len(found["partitions"]) == 3
    assert found["subscriptions"]["s"]["msgBacklog"] == 3
    assert len(found["subscriptions"]["s"]["consumers"]) == 3
    assert (await ask(web, "GET", f"{T}/partitioned-stats?perPartition=false"))[1][
        "partitions"
    ] == {}
    assert (await ask(web, "GET", "persistent/public/default/x/partitioned-stats"))[0] == 404
    limits = {"retentionTimeInMinutes": 5, "retentionSizeInMB": 6}
    assert await ask(web, "POST", f"{T}/retention", limits) == (204, "")
    assert broker.store.retention(f"{TOPIC}-partition-2").minutes == 5
    assert await ask(web, "GET", f"{T}/subscriptions") == (200, ["s"])
    assert await ask(web, "PUT", f"{T}/subscription/t") == (204, "")
    assert await ask(web, "POST", f"{T}/subscription/t/skip_all") == (204, "")
    assert len(broker.skips) == 3
    assert await ask(web, "DELETE", f"{T}/partitions") == (204, "")
    assert await ask(web, "GET", "persistent/public/default/partitioned") == (200, [])


async def test_topic_statistics(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    broker.store.open_topic(TOPIC)
    assert (await ask(web, "GET", f"{T}/stats"))[1]["msgInCounter"] == 0
    status, found = await ask(web, "GET", f"{T}/internalStats")
    assert (status, found["numberOfEntries"], found["cursors"]) == (200, 0, {})
    for path in ("stats", "internalStats", "subscriptions", "lastMessageId", "retention"):
        assert (await ask(web, "GET", f"persistent/public/default/none/{path}"))[0] == 404, path
    assert await ask(web, "PUT", f"{T}/unload") == (204, "")
    assert broker.unloaded == [TOPIC]


async def test_messages(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    log = broker.store.open_topic(TOPIC)
    nothing = {
        "ledgerId": -1,
        "entryId": -1,
        "partitionIndex": -1,
        "batchIndex": -1,
        "batchSize": 0,
    }
    assert await ask(web, "GET", f"{T}/lastMessageId") == (200, nothing)
    ledger = log.end.ledger
    log.append(blob("p", 1, b"first"), 1000, 1)
    log.append(blob("p", 2, b"second"), 2000, 1)
    assert (await ask(web, "GET", f"{T}/lastMessageId"))[1]["entryId"] == 1
    assert (await ask(web, "GET", f"{T}/messageid/1500"))[1]["entryId"] == 1
    assert await ask(web, "GET", f"{T}/ledger/{ledger}/entry/0") == (200, "first")
    assert (await ask(web, "GET", f"{T}/ledger/{ledger}/entry/9"))[0] == 404
    assert (await ask(web, "GET", f"{T}/messageid/soon"))[0] == 404


def pair(key: str, value: str) -> bytes:
    body = b"\x0a" + varint(len(key)) + key.encode() + b"\x12" + varint(len(value)) + value.encode()
    return b"\x22" + varint(len(body)) + body


async def test_peeking(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    log = broker.store.open_topic(TOPIC)
    packed = zlib.compress(b"picture" * 10)
    extra = pair("kind", "video") + pair("sp ace", "x\r\nSet-Cookie: y") + b"\x32\x01k"
    extra += b"\x40\x02\x48" + varint(70) + b"\x60" + varint(5000)
    position = log.append(blob("wtp/tr\u00e4ck", 9, packed, extra=extra), 1_700_000_000_123, 1)
    broker.store.save_cursor(TOPIC, "s", CursorState())
    async with web.get(f"{T}/subscription/s/position/1") as answer:
        assert answer.status == 200
        assert await answer.read() == b"picture" * 10
        headers = answer.headers
    assert headers["X-Pulsar-Message-ID"] == f"{position.ledger}:{position.entry}"
    assert headers["X-Pulsar-publish-time"] == "2023-11-14T22:13:20.123Z"
    assert headers["X-Pulsar-event-time"] == "1970-01-01T00:00:05.000Z"
    assert headers["X-Pulsar-partition-key"] == "k"
    assert headers["X-Pulsar-PROPERTY-kind"] == "video"
    assert json.loads(headers["X-Pulsar-PROPERTY"])["sp ace"] == "x\r\nSet-Cookie: y"
    assert json.loads(headers["X-Pulsar-producer-name"]) == "wtp/tr\u00e4ck"
    assert "Set-Cookie" not in headers
    assert (await ask(web, "GET", f"{T}/subscription/s/position/2"))[0] == 404
    assert (await ask(web, "GET", f"{T}/subscription/none/position/1"))[0] == 404


async def test_subscriptions(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    log = broker.store.open_topic(TOPIC)
    last = log.append(b"x", 1, 1)
    assert await ask(web, "PUT", f"{T}/subscription/latest") == (204, "")
    assert await ask(web, "PUT", f"{T}/subscription/word", "earliest") == (204, "")
    at = {"ledgerId": -1, "entryId": -1, "properties": {"a": "b"}}
    assert await ask(web, "PUT", f"{T}/subscription/earliest", at) == (204, "")
    assert (await ask(web, "PUT", f"{T}/subscription/earliest", at))[0] == 409
    assert (await ask(web, "PUT", f"{T}/subscription/odd", {"ledgerId": "x"}))[0] == 400
    found = broker.store.load_cursors(TOPIC)
    assert found["latest"].mark_delete == last
    assert found["earliest"] == CursorState(EARLIEST, (), {"a": "b"})
    assert await ask(web, "GET", f"{T}/subscriptions") == (200, ["earliest", "latest", "word"])
    broker.busy.add("latest")
    assert (await ask(web, "DELETE", f"{T}/subscription/latest"))[0] == 412
    assert await ask(web, "DELETE", f"{T}/subscription/latest?force=true") == (204, "")
    assert (await ask(web, "DELETE", f"{T}/subscription/latest"))[0] == 404
    assert (await ask(web, "DELETE", "persistent/public/default/x/subscription/s"))[0] == 404


async def test_resetting_and_skipping(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    broker.store.open_topic(TOPIC)
    broker.store.save_cursor(TOPIC, "s", CursorState())
    sub = f"{T}/subscription/s"
    assert await ask(web, "POST", f"{sub}/resetcursor/1234", {}) == (204, "")
    at = {"ledgerId": 4, "entryId": 5, "partitionIndex": -1}
    assert await ask(web, "POST", f"{sub}/resetcursor", at) == (204, "")
    assert await ask(web, "POST", f"{sub}/resetcursor", {**at, "isExcluded": True}) == (204, "")
    assert await ask(web, "POST", f"{sub}/resetcursor", "latest") == (204, "")
    assert [target for *_, target in broker.resets] == [
        1234,
        Position(4, 5),
        Position(4, 6),
        LATEST,
    ]
    assert (await ask(web, "POST", f"{T}/subscription/none/resetcursor/1234", {}))[0] == 404
    assert (await ask(web, "POST", f"{sub}/resetcursor", {"ledgerId": 1}))[0] == 400
    assert await ask(web, "POST", f"{sub}/skip/3") == (204, "")
    assert await ask(web, "POST", f"{sub}/skip_all") == (204, "")
    assert [count for *_, count in broker.skips] == [3, None]
    assert (await ask(web, "POST", f"{T}/subscription/none/skip_all"))[0] == 404


async def test_topic_retention(web: aiohttp.ClientSession, broker: FakeBroker) -> None:
    broker.store.open_topic(TOPIC)
    assert await ask(web, "GET", f"{T}/retention") == (200, "")
    applied = {"retentionTimeInMinutes": 1440, "retentionSizeInMB": 1024}
    assert await ask(web, "GET", f"{T}/retention?applied=true") == (200, applied)
    limits = {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}
    assert await ask(web, "POST", f"{T}/retention", limits) == (204, "")
    assert await ask(web, "GET", f"{T}/retention") == (200, limits)
    assert broker.changed == ["public/default"]
    assert await ask(web, "DELETE", f"{T}/retention") == (204, "")
    assert await ask(web, "GET", f"{T}/retention") == (200, "")
    assert (await ask(web, "POST", f"{T}/retention", {"retentionSizeInMB": 1}))[0] == 400


async def test_lookup(web: aiohttp.ClientSession, url: str) -> None:
    status, found = await ask(web, "GET", f"{url}/lookup/v2/topic/{T}")
    assert status == 200
    assert found["brokerUrl"] == "pulsar://127.0.0.1:6650"
    assert (await ask(web, "GET", f"{url}/lookup/v2/topic/persistent/public/none/x"))[0] == 404


@pytest.mark.parametrize("path", [T, f"{T}/partitions", f"{N}x"])
async def test_wrong_content_type(web: aiohttp.ClientSession, path: str) -> None:
    async with web.put(path, data=b"1", headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415
        assert (await answer.json())["reason"]
    async with web.put(path, skip_auto_headers=["Content-Type"]) as answer:
        assert answer.status == 415


async def test_wrong_content_type_of_a_post(web: aiohttp.ClientSession) -> None:
    async with web.post(f"{N}/deduplication", data=b"true") as answer:
        assert answer.status == 415


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"nope"])
async def test_bad_json(web: aiohttp.ClientSession, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    async with web.put(f"{T}/partitions", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert (await answer.json())["reason"]


async def test_json_of_the_wrong_shape(web: aiohttp.ClientSession) -> None:
    assert (await ask(web, "PUT", "namespaces/public/x", [1]))[0] == 400
    assert (await ask(web, "PUT", T, 7))[0] == 400


async def test_a_body_that_is_too_large(web: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": "application/json"}
    data = io.BytesIO(b'"' + b"x" * 2_000_000 + b'"')
    async with web.put(T, data=data, headers=headers) as answer:
        assert answer.status == 413


async def test_what_is_not_there(web: aiohttp.ClientSession, url: str) -> None:
    assert (await ask(web, "GET", "nothing"))[0] == 404
    assert (await ask(web, "GET", f"{url}/"))[0] == 404
    async with web.patch(T) as answer:
        assert answer.status == 405
        assert "PUT" in answer.headers["Allow"]
        assert (await answer.json())["reason"]


async def test_foreign_web_pages_change_nothing(
    web: aiohttp.ClientSession, url: str, broker: FakeBroker
) -> None:
    port = url.rpartition(":")[2]
    for origin in ("http://evil.example", "null", f"http://evil.example:{port}", "http://[x"):
        headers = {"Origin": origin, "Content-Type": "application/json"}
        host = {"Host": origin.removeprefix("http://")} if "evil" in origin else {}
        async with web.put(T, headers={**headers, **host}) as answer:
            assert answer.status == 403, origin
    assert broker.store.topics("public/default") == []
    async with web.put(T, headers={"Origin": url, "Content-Type": "application/json"}) as answer:
        assert answer.status == 204
    local = {"Origin": f"http://localhost:{port}", "Host": f"localhost:{port}"}
    async with web.delete(T, headers=local) as answer:
        assert answer.status == 204


async def test_a_full_disk_is_told(
    web: aiohttp.ClientSession, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise StorageError("Cannot write: no space left on device.", code="disk-full")

    monkeypatch.setattr(broker.store, "create_namespace", full)
    status, found = await ask(web, "PUT", "namespaces/public/x")
    assert status == 507
    assert "no space" in found["reason"]


async def test_health(web: aiohttp.ClientSession, url: str, broker: FakeBroker) -> None:
    broker.store.open_topic(TOPIC)
    broker.store.damage.append("a torn tail")
    assert await ask(web, "GET", f"{url}/health") == (
        200,
        {
            "status": "ok",
            "version": __version__,
            "uptime_s": 12.5,
            "damage": ["a torn tail"],
            "topics": 1,
            "fsync": "never",
        },
    )


async def test_metrics(web: aiohttp.ClientSession, url: str, broker: FakeBroker) -> None:
    odd = 'persistent://public/default/a"b\\c'
    broker.store.open_topic(odd).append(b"x", 1, 1)
    async with web.get(f"{url}/metrics") as answer:
        assert answer.content_type == "text/plain"
        text = await answer.text()
    samples = {
        (sample.name, sample.labels.get("topic")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["wtp_broker_messages_in_total", None] == 40
    assert samples["wtp_broker_connections", None] == 2
    assert samples["wtp_broker_topic_entries", odd] == 1
    assert all(name.startswith("wtp_broker_") for name, _ in samples)


async def test_an_address_in_use(broker: FakeBroker) -> None:
    first, second = HttpSide(broker), HttpSide(broker)
    host, port = await first.start("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        await second.start(host, port)
    await first.close()
    await first.close()


def test_adding_up_nothing() -> None:
    assert sum_stats([]) == {}
