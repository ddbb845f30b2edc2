"""The admin client over HTTPS: trust, tokens, several hosts, redirects, wrong ports."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.operators.conftest import Papers, Serve
from tests.operators.papers import jwt, secret_file
from wtp.broker.connect import administer
from wtp.broker.topics import Admin
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable, NotFound, Refused, WtpError

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Web = Callable[..., Awaitable[int]]

PAGE = b"<html><title>Error 401 Authentication required</title></html>"


@pytest.fixture
async def serve_http() -> AsyncIterator[Web]:
    """Serves one answer to everything; returns the port."""
    runners: list[web.ServerRunner] = []

    async def start(answer: Answer, tls: ssl.SSLContext | None = None) -> int:
        runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port: int = runner.addresses[0][1]
        return port

    yield start
    for runner in runners:
        await runner.cleanup()


def saying(names: list[str], seen: list[str] | None = None) -> Answer:
    async def answer(request: web.BaseRequest) -> web.Response:
        if seen is not None:
            seen.append(request.headers.get("Authorization", ""))
        return web.json_response(names)

    return answer


async def fault(**settings: object) -> WtpError:
    async with administer(BrokerSettings.model_validate(settings)) as admin:
        with pytest.raises(WtpError) as caught:
            await admin.namespaces()
    assert caught.value.hint
    return caught.value


async def test_a_token_over_https_is_read_anew(
    serve_http: Web, papers: Papers, tmp_path: Path
) -> None:
    seen: list[str] = []
    port = await serve_http(saying(["public/a"], seen), papers.server.server())
    path = tmp_path / "token"
    settings = BrokerSettings(
        admin=f"https://localhost:{port}", ca=papers.ca, token_file=secret_file(path, "first")
    )
    async with administer(settings) as admin:
        assert await admin.namespaces() == ["public/a"]
        secret_file(path, "second")
        await admin.namespaces()
    assert seen == ["Bearer first", "Bearer second"]


async def test_a_client_certificate(serve_http: Web, papers: Papers) -> None:
    port = await serve_http(saying([]), papers.server.server(clients=papers.ca))
    settings = {"admin": f"https://localhost:{port}", "ca": papers.ca}
    mine = {"cert": papers.client.cert, "key": papers.client.key}
    async with administer(BrokerSettings.model_validate({**settings, **mine})) as admin:
        assert await admin.namespaces() == []
    assert isinstance(await fault(**settings), BrokerUnavailable)


async def test_certificates_that_are_not_believed(serve_http: Web, papers: Papers) -> None:
    good = await serve_http(saying([]), papers.server.server())
    strange = await serve_http(saying([]), papers.elsewhere.server())
    old = await serve_http(saying([]), papers.expired.server())
    for port, ca, code in (
        (good, papers.other_ca, "tls-trust"),
        (strange, papers.ca, "tls-name"),
        (old, papers.ca, "tls-expired"),
    ):
        error = await fault(admin=f"https://127.0.0.1:{port}", ca=ca)
        assert (error.code, error.exit_code) == (code, 3)
    careless = BrokerSettings(admin=f"https://127.0.0.1:{strange}", ca=papers.ca, verify_host=False)
    async with administer(careless) as admin:
        assert await admin.namespaces() == []


async def test_https_and_http_mixed_up(serve_http: Web, papers: Papers) -> None:
    plain = await serve_http(saying([]))
    error = await fault(admin=f"https://localhost:{plain}", ca=papers.ca)
    assert (error.code, error.exit_code) == ("no-tls", 3)
    assert f"http://localhost:{plain}" in error.hint
    secure = await serve_http(saying([]), papers.server.server())
    error = await fault(admin=f"http://localhost:{secure}")
    assert (error.code, error.exit_code) == ("tls-wanted", 3)
    assert f"https://localhost:{secure}" in error.hint


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\x0c\0\0\0\x08", b"SSH-2.0-OpenSSH_9\r\n"])
async def test_ports_that_do_not_speak_http(serve: Serve, answer: bytes) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)

    error = await fault(admin=f"http://127.0.0.1:{await serve(play)}")
    assert (error.code, error.exit_code) == ("no-pulsar", 3)
    assert "binary protocol" in error.hint


async def test_an_unknown_host() -> None:
    error = await fault(admin="http://nobody.invalid:1")
    assert (error.code, error.exit_code) == ("unknown-host", 3)


@pytest.mark.parametrize(
    ("secret", "code"),
    [
        ("", "token-missing"),
        (jwt(b"s", sub="x", exp=1_700_000_000), "token-expired"),
        (jwt(b"s", sub="x"), "token-refused"),
    ],
)
async def test_who_is_not_known(serve_http: Web, secret: str, code: str) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=401, body=PAGE)

    port = await serve_http(answer)
    error = await fault(admin=f"http://127.0.0.1:{port}", token=secret)
    assert (error.code, error.exit_code) == (code, 4)
    assert not secret or secret not in str(error)


async def test_a_missing_right_is_said_in_few_words(serve_http: Web) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        reason = (
            "Unauthorized to validateTenantOperation for originalPrincipal [null] and "
            "clientAppId [camera] about operation [LIST_NAMESPACES] on tenant [public]"
        )
        return web.json_response({"reason": reason}, status=401)

    error = await fault(admin=f"http://127.0.0.1:{await serve_http(answer)}")
    assert (error.code, error.exit_code) == ("not-allowed", 4)
    assert "the role 'camera' may not LIST_NAMESPACES on tenant public." in error.message


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Namespace not found", "The broker has no namespace public/a b."),
        ("Tenant does not exist", "The broker has no tenant public."),
        ("Topic x not found", "Topic x not found"),
    ],
)
async def test_what_does_not_exist_is_named(serve_http: Web, reason: str, message: str) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response({"reason": reason}, status=404)

    async with Admin(f"http://127.0.0.1:{await serve_http(answer)}") as admin:
        with pytest.raises(NotFound) as caught:
            await admin._http.call("PUT", "/persistent/public/a%20b/x")
    assert caught.value.message == message
    assert caught.value.hint


async def test_the_next_host_when_one_is_away(
    serve_http: Web, free_port: Callable[[], int]
) -> None:
    seen: list[str] = []
    port, away = await serve_http(saying(["public/a"], seen)), free_port()
    url = f"http://127.0.0.1:{away},127.0.0.1:{port}"
    async with administer(BrokerSettings(admin=url)) as admin:
        assert await admin.namespaces() == ["public/a"]
        await admin.create_topic("x")
        assert admin._http._places[0].port == port  # it is asked first from now on
    assert len(seen) == 2
    error = await fault(admin=f"http://127.0.0.1:{away},127.0.0.1:{free_port()}")
    assert isinstance(error, BrokerUnavailable)


async def test_a_request_that_may_have_been_done_is_not_repeated(
    serve_http: Web, serve: Serve
) -> None:
    asked: list[str] = []

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append("cut")
        await reader.read(65536)
        writer.transport.abort()

    whole = await serve_http(saying(["public/a"], asked))
    url = f"http://127.0.0.1:{await serve(cut)},127.0.0.1:{whole}"
    async with Admin(url) as admin:
        with pytest.raises(BrokerUnavailable):
            await admin.create_topic("x")
        assert set(asked) == {"cut"}
        assert await admin.namespaces() == ["public/a"]


async def test_the_token_goes_along_with_a_redirect(serve_http: Web, papers: Papers) -> None:
    """A cluster sends a request to the broker that owns the topic."""
    seen: list[tuple[str, bytes, str]] = []

    async def owner(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        seen.append((request.method, body, request.headers.get("Authorization", "")))
        return web.Response(status=204)

    inside = await serve_http(owner, papers.server.server())
    outside = await serve_http(owner)

    async def other(request: web.BaseRequest) -> web.Response:
        port, scheme = (outside, "http") if "open" in request.path else (inside, "https")
        where = f"{scheme}://localhost:{port}{request.raw_path}"
        return web.Response(status=307, headers={"Location": where})

    port = await serve_http(other, papers.server.server())
    url = f"https://localhost:{port}"
    async with Admin(url, BrokerSettings(ca=papers.ca, token="secret")) as admin:
        await admin.create_topic("a/b/c d", 3)
        await admin.create_topic("open")
    assert seen == [("PUT", b"3", "Bearer secret"), ("PUT", b"", "")]


async def test_redirects_in_circles(serve_http: Web) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=307, headers={"Location": str(request.url)})

    error = await fault(admin=f"http://127.0.0.1:{await serve_http(answer)}")
    assert "in circles" in error.message


async def test_topics_that_are_made_once(serve_http: Web) -> None:
    made: dict[str, str] = {}

    async def answer(request: web.BaseRequest) -> web.Response:
        name = request.path.removeprefix("/admin/v2/persistent/public/default/")
        topic = name.removesuffix("/partitions")
        if request.method == "GET":
            return web.json_response({"partitions": int(made.get(topic) or 0)})
        if topic == "forbidden":
            return web.json_response({"reason": "no"}, status=403)
        if topic == "lost":
            return web.json_response({"reason": "Namespace not found"}, status=404)
        if topic in made:
            return web.json_response({"reason": "This topic already exists"}, status=409)
        made[topic] = (await request.read()).decode()
        return web.Response(status=204)

    async with Admin(f"http://127.0.0.1:{await serve_http(answer)}") as admin:
        assert await admin.ensure_topic("a", 3) == 3
        assert await admin.ensure_topic("a", 5) == 3
        assert await admin.ensure_topic("b") == 0
        assert await admin.ensure_topic("b", 5) == 0
        with pytest.raises(Refused):
            await admin.ensure_topic("forbidden", 3)
        with pytest.raises(NotFound):
            await admin.ensure_topic("lost", 3)
    assert made == {"a": "3", "b": ""}


async def test_a_namespace_brings_its_tenant(serve_http: Web) -> None:
    made: dict[str, object] = {}

    async def answer(request: web.BaseRequest) -> web.Response:
        path = request.path.removeprefix("/admin/v2/")
        if path == "clusters":
            return web.json_response(["east", "west"])
        tenant = path.split("/")[1]
        if request.method == "GET" or (
            path.startswith("namespaces") and f"tenants/{tenant}" not in made
        ):
            return web.json_response({"reason": "Tenant does not exist"}, status=404)
        if tenant == "forbidden":
            return web.json_response({"reason": "no"}, status=401)
        made[path] = await request.json()
        return web.Response(status=204)

    async with Admin(f"http://127.0.0.1:{await serve_http(answer)}") as admin:
        assert await admin.ensure_namespace("studio/live", deduplication=True)
        with pytest.raises(Refused):
            await admin.ensure_namespace("forbidden/live")
    assert made == {
        "tenants/studio": {"allowedClusters": ["east", "west"]},
        "namespaces/studio/live": {"deduplicationEnabled": True},
    }
