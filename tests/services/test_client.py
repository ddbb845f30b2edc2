from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from tests.services.fakes import properties, video
from tests.services.servers import echo, processor, raw
from wtp.router.service_client import (
    DOWN,
    ERROR,
    GARBAGE,
    MOST_ANSWER_BYTES,
    REFUSED,
    TIMEOUT,
    Answer,
    Fault,
    ask,
    open_session,
    shown,
)
from wtp.wire.process import Format, Parcel

SENT = Parcel("room/me/cam", properties(video(1, key=True)), b"picture")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


async def fault(session: aiohttp.ClientSession, url: str, timeout_s: float = 2.0) -> Fault:
    result = await ask(session, url, SENT, "binary", timeout_s)
    assert isinstance(result, Fault), result
    return result


@pytest.mark.parametrize("data_format", ["binary", "json"])
async def test_an_object_goes_and_comes_back(
    session: aiohttp.ClientSession, data_format: Format
) -> None:
    async with processor() as url:
        for _ in range(3):
            result = await ask(session, url, SENT, data_format, 2.0)
            assert result == Answer((SENT,))


async def test_connections_are_kept(session: aiohttp.ClientSession) -> None:
    peers = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return await echo(request)

    async with processor(answer) as url:
        for _ in range(5):
            await ask(session, url, SENT, "binary", 2.0)
    assert len(peers) == 1


@pytest.mark.parametrize(
    ("status", "reason", "passing"),
    [
        (400, REFUSED, False),
        (413, REFUSED, False),
        (415, REFUSED, False),
        (422, REFUSED, False),
        (401, ERROR, True),
        (404, ERROR, True),
        (500, ERROR, True),
        (503, ERROR, True),
        (206, GARBAGE, True),
    ],
)
async def test_answers_by_status(
    session: aiohttp.ClientSession, status: int, reason: str, passing: bool
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "so it is"}, status=status)

    async with processor(answer) as url:
        found = await fault(session, url)
    assert (found.reason, found.passing) == (reason, passing)
    assert str(status) in found.message
    if status >= 400:
        assert "so it is" in found.message


async def test_nothing_to_publish_and_published(session: aiohttp.ClientSession) -> None:
    published = "0"

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=204, headers={"WTP-Published": published})

    async with processor(answer) as url:
        assert await ask(session, url, SENT, "binary", 2.0) == Answer()
        published = "2"
        assert await ask(session, url, SENT, "binary", 2.0) == Answer(published=2)
        published = "many"
        assert (await fault(session, url)).reason == GARBAGE


async def test_a_rest_is_heard(session: aiohttp.ClientSession) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "3"})

    async with processor(answer) as url:
        assert (await fault(session, url)).rest_s == 3.0


async def test_a_redirect_is_not_followed(session: aiohttp.ClientSession) -> None:
    followed = []

    async def other(request: web.Request) -> web.StreamResponse:
        followed.append(request.path)
        return await echo(request)

    async with processor(other) as elsewhere:

        async def answer(_: web.Request) -> web.StreamResponse:
            raise web.HTTPTemporaryRedirect(elsewhere)

        async with processor(answer) as url:
            found = await fault(session, url)
    assert found.reason == ERROR
    assert "redirect" in found.message
    assert followed == []


async def test_a_late_answer_is_never_seen(session: aiohttp.ClientSession) -> None:
    released = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return await echo(request)

    async with processor(answer) as url:
        assert (await fault(session, url, 0.1)).reason == TIMEOUT
        released.set()
        assert await ask(session, url, SENT, "binary", 2.0) == Answer((SENT,))


async def test_nobody_there(session: aiohttp.ClientSession) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = await fault(session, f"http://127.0.0.1:{free.getsockname()[1]}/process")
    assert found.reason == DOWN


async def test_a_huge_answer_is_not_read_to_its_end(session: aiohttp.ClientSession) -> None:
    async def says_so(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(MOST_ANSWER_BYTES + 1))

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(1 << 20))
        except ConnectionError:
            return response

    for answer in (says_so, endless):
        async with processor(answer) as url:
            found = await fault(session, url, 10.0)
        assert found.reason == GARBAGE
        assert "longer" in found.message


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", DOWN),
        (b"SSH-2.0-OpenSSH_9.2\r\n", GARBAGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", GARBAGE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", GARBAGE),
        (b"HTTP/1.1 200 OK\r\nContent-Le", DOWN),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", GARBAGE),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab", GARBAGE),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-wtp-objects\r\n"
            b"Content-Length: 4\r\n\r\nabcd",
            GARBAGE,
        ),
        (b"HTTP/1.1 200 OK\r\nWTP-Attributes: [\r\nContent-Length: 1\r\n\r\na", GARBAGE),
    ],
)
async def test_answers_that_are_none(
    session: aiohttp.ClientSession, answer: bytes, reason: str
) -> None:
    async with raw(answer) as url:
        found = await fault(session, url)
    assert (found.reason, found.passing) == (reason, True), found.message
    assert found.message


async def test_an_answer_that_stops_half_way_ends_with_the_time_out(
    session: aiohttp.ClientSession,
) -> None:
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", close=False) as url:
        assert (await fault(session, url, 0.2)).reason == TIMEOUT


@pytest.mark.parametrize("text", ["not json", "[]", '{"payload": 5}', '{"payload": "?"}'])
async def test_garbage_in_json(session: aiohttp.ClientSession, text: str) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type="application/json")

    async with processor(answer) as url:
        result = await ask(session, url, SENT, "json", 2.0)
    assert isinstance(result, Fault)
    assert result.reason == GARBAGE


def test_urls_in_logs_hide_passwords() -> None:
    assert shown("http://me:secret@host:81/process?token=x") == "http://host:81/process"
