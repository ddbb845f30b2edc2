"""A real Chromium and a real Firefox against the real transport and the real router."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browsers import run_page
from wtp.bench.path import LocalPath
from wtp.broker.client import BrokerClient
from wtp.broker.messages import Received
from wtp.model import Kind, Object
from wtp.transport.certs import create_certificate
from wtp.transport.server import serve
from wtp.transport.session import Session
from wtp.wire import StreamType, stream_type
from wtp.wire.legacy import LegacyParser
from wtp.wire.objects import ObjectParser, encode_head

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
browsers = pytest.mark.parametrize("browser", ["chromium", "firefox"])


class Echo:
    """Sends every object back on a stream of its own."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.parsers: dict[int, ObjectParser | LegacyParser] = {}
        self.legacy = 0
        self.ended: tuple[int, str] | None = None

    def stream_data(self, stream: int, data: bytes, end: bool) -> None:
        self.session.release(stream, len(data))
        parser = self.parsers.get(stream)
        if parser is None:
            if stream_type(data[0]) is StreamType.OBJECTS:
                parser, data = ObjectParser(), data[1:]
            else:
                parser = LegacyParser()
            self.parsers[stream] = parser
        if isinstance(parser, ObjectParser):
            for item in parser.feed(data):
                self.back(item.obj)
        else:
            for message in parser.feed(data):
                self.back(Object(Kind.VIDEO, self.legacy, 0, True, message.payload))
                self.legacy += 1

    def back(self, obj: Object) -> None:
        stream = self.session.open_stream()
        head = bytes([StreamType.OBJECTS]) + encode_head(1, obj)
        self.session.send(stream, head + obj.payload, end=True)

    def stream_reset(self, stream: int, code: int) -> None:
        pass

    def stream_stopped(self, stream: int, code: int) -> None:
        pass

    def datagram(self, data: bytes) -> None:
        pass

    def writable(self) -> None:
        pass

    def closed(self, code: int, reason: str) -> None:
        self.ended = (code, reason)


@browsers
async def test_objects_in_both_framings_come_back(browser: str, tmp_path: Path) -> None:
    certificate = create_certificate(tmp_path / "certs")
    echoes: list[Echo] = []

    def accept(session: Session) -> Echo:
        echoes.append(Echo(session))
        return echoes[-1]

    server = await serve("127.0.0.1", 0, certificate, accept)
    try:
        url = f"https://127.0.0.1:{server.address[1]}/wt"
        back = await run_page(browser, tmp_path, test="echo", url=url, hash=certificate.sha256)
    finally:
        await server.close(0, "")
    assert sorted(item["length"] for item in back) == [1, 1, 1000, 1000, 100000, 100000]
    assert all(item["same"] and item["type"] == StreamType.OBJECTS for item in back)


async def read_topic(url: str, topic: str) -> list[Received]:
    client = BrokerClient(url)
    try:
        return await client.history(topic)
    finally:
        await client.close()


def stats(url: str) -> Any:
    import ssl

    context = ssl._create_unverified_context()
    with urllib.request.urlopen(url.replace("/wt", "/stats"), context=context) as answer:
        return json.load(answer)


@browsers
async def test_page_publishes_through_the_router(browser: str, tmp_path: Path) -> None:
    async with LocalPath() as path:
        query = {"url": path.router_url, "hash": path.cert_hash}
        seen = await run_page(browser, tmp_path, test="publish", **query)
        assert seen["welcome"]["room"] == "browser"
        assert seen["published"]["last_seq"] == 0
        assert seen["receipt"]["up_to_seq"] == 3
        assert seen["flushed"]["tracks"]["1"]["received"] == 3
        chat = await read_topic(path.broker.url, "persistent://public/browser/chat")
        assert [m.payload.decode() for m in chat] == [f"line {n} ü" for n in (1, 2, 3)]
        assert chat[0].properties["author"] == "page"
        assert chat[0].key == "browser/page/chat"
        video = await read_topic(path.broker.url, "persistent://public/browser/video")
        assert [len(m.payload) for m in video] == [500] * 5
        properties = video[0].properties
        assert properties["content_type"] == "application/octet-stream"
        assert "capture_us" not in properties
        assert "route_us" in properties
        assert properties["kind"] == "video"
        counts = stats(path.router_url)
        assert counts["refused"] == {"legacy-kind": 1}
        assert counts["objects"]["dropped"] == {}


@browsers
async def test_refusals_have_reasons(browser: str, tmp_path: Path) -> None:
    async with LocalPath() as path:
        query = {"url": path.router_url, "hash": path.cert_hash}
        out = await run_page(browser, tmp_path, test="refused", **query)
    assert out["wrongHash"] == "refused"
    assert "room name" in out["badRoom"]["reason"]
