"""The HTTP processor as a router sees it: forms, statuses, order, its end."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.processor.parcels import code, parcel
from wtp.config.schema import (
    DEFAULT_TEMPLATE,
    BrokerSettings,
    ProcessorSettings,
    Settings,
    TopicSettings,
)
from wtp.errors import BrokerUnavailable, UsageError, WtpError
from wtp.model import Kind
from wtp.processor.code import CodeSpec
from wtp.processor.run import Processor
from wtp.wire.process import Parcel, decode_answer, decode_error, encode_one

PASSTHROUGH = CodeSpec.parse("passthrough")


def settings(
    broker: str = "pulsar://127.0.0.1:1", topic: str = DEFAULT_TEMPLATE, **own: Any
) -> Settings:
    own = {"listen": "127.0.0.1:0", "send_to_pulsar": False, **own}
    return Settings(
        processor=ProcessorSettings(**own),
        broker=BrokerSettings(url=broker),
        topics=TopicSettings(template=topic),
    )


class Client:
    def __init__(self, session: aiohttp.ClientSession, info: dict[str, Any], role: Processor):
        self.session, self.info, self.role = session, info, role

    async def post(self, sent: Parcel, data_format: Any = "binary") -> tuple[int, Any, bytes]:
        headers, body = encode_one(sent, data_format)
        async with self.session.post(self.info["url"], data=body, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    async def processed(self, sent: Parcel, data_format: Any = "binary") -> list[Parcel]:
        status, headers, body = await self.post(sent, data_format)
        assert status == 200, body
        return decode_answer(headers, body, sent, data_format)

    async def health(self) -> tuple[int, dict[str, Any]]:
        async with self.session.get(self.info["health"]) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def serving(
    spec: CodeSpec = PASSTHROUGH, kind: Kind = Kind.CHAT, chosen: Settings | None = None
) -> AsyncIterator[Client]:
    role = Processor(chosen or settings(), kind, spec)
    ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group, aiohttp.ClientSession() as session:
        running = group.create_task(role.run(ready.set_result))
        try:
            yield Client(session, await ready, role)
        finally:
            role.stop()
            await running
    objects = role.snapshot()["objects"]
    assert objects["offered"] == objects["delivered"] + sum(objects["dropped"].values())
    assert objects["in_flight"] == 0


@pytest.mark.parametrize("data_format", ["binary", "json"])
async def test_an_object_goes_and_comes_back(data_format: str) -> None:
    async with serving() as client:
        sent = parcel("hä".encode(), author="me")
        assert await client.processed(sent, data_format) == [sent]


async def test_curl_alone_can_use_it() -> None:
    async with serving() as client:
        body = json.dumps(
            {"track": "r/p/t", "properties": dict(parcel().properties), "text": "hi"}
        ).encode()
        async with client.session.post(
            client.info["url"], data=body, headers={"Content-Type": "application/json"}
        ) as answer:
            found = await answer.json()
    assert base64.b64decode(found["payload"]) == b"hi"
    assert found["text"] == "hi"


async def test_code_may_filter_multiply_and_derive(tmp_path: Path) -> None:
    spec = code(
        tmp_path,
        "from dataclasses import replace\n"
        "def process(obj):\n"
        "    n = obj.payload[0]\n"
        "    if n == 3: return {'n': n}\n"
        "    return [bytes([i]) for i in range(n)]\n",
    )
    async with serving(spec, Kind.VIDEO) as client:
        assert (await client.post(parcel(b"\0", Kind.VIDEO, 1)))[0] == 204
        (one,) = await client.processed(parcel(b"\1", Kind.VIDEO, 2))
        assert one.properties["seq"] == "2"
        two = await client.processed(parcel(b"\2", Kind.VIDEO, 3))
        assert [p.payload for p in two] == [b"\0", b"\1"]
        assert [p.properties["part"] for p in two] == ["0", "1"]
        (event,) = await client.processed(parcel(b"\3", Kind.VIDEO, 4))
        assert event.track == "default/me/video-mine"
        assert event.properties["kind"] == "data"
        assert event.attributes == {"source_track": "default/me/video", "processor": "mine"}
        assert event.properties["capture_us"] == "1000004"
        dropped = client.role.snapshot()["objects"]["dropped"]
    assert dropped == {"filtered": 1}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"x", 415),
        ({"Content-Type": "application/json"}, b"{", 400),
        ({"Content-Type": "application/json"}, b'{"track": "x", "text": "y"}', 400),
        ({"WTP-Track": "r/p/t"}, b"x", 400),
        ({"WTP-Track": "r/p/t", "WTP-Attributes": "[]"}, b"x", 400),
        ("video", b"x", 400),
        ("chat", b"x" * 20_000, 413),
        ("chat", b"x" * 1_000_000, 413),
    ],
)
async def test_bad_requests_are_refused_for_good(headers: Any, body: bytes, status: int) -> None:
    async with serving() as client:
        if isinstance(headers, str):
            headers, _ = encode_one(parcel(b"", Kind(headers)), "binary")
        async with client.session.post(client.info["url"], data=body, headers=headers) as answer:
            assert answer.status == status
            assert "error" in await answer.json()
        assert client.role.snapshot()["refused"] == {str(status): 1}
        assert await client.processed(parcel()) == [parcel()]


async def test_failing_code_is_told_and_the_next_object_goes_on(tmp_path: Path) -> None:
    spec = code(tmp_path, "def process(text: str): return text if text != 'x' else 1/0")
    async with serving(spec) as client:
        status, _, body = await client.post(parcel(b"x", seq=1))
        assert status == 422
        assert "ZeroDivisionError" in decode_error(body)
        assert await client.processed(parcel(b"y", seq=2)) == [parcel(b"y", seq=2)]
        status, _, body = await client.post(parcel(b"\xff", seq=3))
        assert status == 422
        assert "no UTF-8" in decode_error(body)
        dropped = client.role.snapshot()["objects"]["dropped"]
    assert dropped == {"exception": 1, "damaged": 1}


async def test_a_router_that_asks_again_learns_of_the_failure(tmp_path: Path) -> None:
    text = "import time\ndef process(text: str):\n if text == 'hang': time.sleep(60)\n return text"
    async with serving(code(tmp_path, text), chosen=settings(timeout_s=2)) as client:
        both = await asyncio.gather(*(client.post(parcel(b"hang", seq=1)) for _ in range(2)))
        assert [status for status, _, _ in both] == [422, 422]
        assert await client.processed(parcel(b"next", seq=2))
        runner = client.role.snapshot()["runner"]
    assert runner["failed"] == {"timeout": 1}


async def test_stopping_does_not_wait_for_a_long_import(tmp_path: Path) -> None:
    spec = code(tmp_path, "print('importing', flush=True)\nimport time\ntime.sleep(60)")
    role = Processor(settings(), Kind.CHAT, spec)
    running = asyncio.create_task(role.run(lambda info: None))
    await asyncio.sleep(0.1)
    role.stop()
    async with asyncio.timeout(60):
        await running


async def test_requests_that_overtake_each_other_are_put_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wtp.processor.lanes.LIVE_PATIENCE_S", 10)
    spec = code(tmp_path, "seen = []\ndef process(obj): seen.append(obj.seq); return str(seen)")
    async with serving(spec) as client:
        await client.post(parcel(seq=1))
        late = [asyncio.create_task(client.post(parcel(seq=seq))) for seq in (5, 4, 3, 2)]
        answers = [await task for task in late]
        assert json.loads(answers[0][2]) == [1, 2, 3, 4, 5]


async def test_too_many_at_once_are_told_to_come_again(tmp_path: Path) -> None:
    spec = code(tmp_path, "import time\ndef process(obj): time.sleep(1.5); return obj")
    async with serving(spec, chosen=settings(in_flight=2)) as client:
        answers = await asyncio.gather(*(client.post(parcel(track=f"r/p/t{n}")) for n in range(4)))
        refused = [headers for status, headers, _ in answers if status == 503]
        assert len(refused) == 2
        assert all(headers["Retry-After"] for headers in refused)


async def test_stopping_finishes_what_is_under_way(tmp_path: Path) -> None:
    spec = code(tmp_path, "import time\ndef process(obj): time.sleep(2); return obj")
    async with serving(spec) as client:
        under_way = asyncio.create_task(client.post(parcel()))
        async with asyncio.timeout(60):
            while not client.role.snapshot()["objects"].get("in_flight"):
                await asyncio.sleep(0.001)
        client.role.stop()
        status, state = await client.health()
        assert (status, state["status"]) == (503, "draining")
        assert (await under_way)[0] == 200


async def test_health_tells_what_is_wrong() -> None:
    async with serving() as client:
        status, state = await client.health()
        assert (status, state["status"], state["kind"]) == (200, "ok", "chat")
    async with serving(chosen=settings(send_to_pulsar=True)) as client:
        status, state = await client.health()
        assert (status, state["status"]) == (503, "no-broker")
        status, _, body = await client.post(parcel())
        assert status == 503
        assert "127.0.0.1:1" in decode_error(body)


async def test_a_port_that_is_no_broker_ends_the_start() -> None:
    async with serving() as client:
        url = "pulsar://" + client.info["address"]
        role = Processor(settings(url, send_to_pulsar=True), Kind.CHAT, PASSTHROUGH)
        with pytest.raises(BrokerUnavailable):
            await role.run(lambda info: None)


async def test_an_address_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        role = Processor(settings(listen=address), Kind.CHAT, PASSTHROUGH)
        with pytest.raises(WtpError) as caught:
            await role.run(lambda info: None)
    assert caught.value.code == "bind"
    assert address in caught.value.message


def test_a_public_address_needs_leave() -> None:
    with pytest.raises(UsageError, match="no authentication"):
        Processor(settings(listen="0.0.0.0:0"), Kind.CHAT, PASSTHROUGH)
    Processor(settings(listen="0.0.0.0:0", insecure_no_auth=True), Kind.CHAT, PASSTHROUGH)
