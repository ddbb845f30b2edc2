"""Every way in which a broker, or what stands in its place, does not let us in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.operators.conftest import Papers, Play, Serve
from tests.operators.papers import jwt
from wtp.broker import accessfaults, accessprobe
from wtp.broker.accessprobe import Entry, check_access, knock
from wtp.broker.connect import connect
from wtp.broker.embedded.answers import Connected, Error
from wtp.broker.embedded.commands import Connect
from wtp.broker.embedded.frames import FrameParser, command, split_command
from wtp.broker.embedded.numbers import Cmd
from wtp.broker.embedded.protobuf import Message, pb
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable, Refused, WtpError

SECRET = b"a secret of thirty-two bytes ...."
GONE = jwt(SECRET, sub="camera", exp=1_700_000_000)
GOOD = jwt(SECRET, sub="camera")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accessprobe, "CONNECT_S", 1.5)
    monkeypatch.setattr(accessprobe, "ANSWER_S", 1.0)


def answering(answer: bytes, *, close: bool = True) -> Play:
    """A server that waits for something and sends this; without `close` it stays."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        if not close:
            await reader.read()

    return play


def pulsar(protocol: int = 21, most: int | None = None) -> Play:
    told = Connected("Pulsar Server4.0.7", protocol, most)
    return answering(command(Cmd.CONNECTED, told), close=False)


def refusing(number: int, words: str) -> Play:
    error = Error(request_id=2**64 - 1, error=number, message=words)
    return answering(command(Cmd.ERROR, error))


@dataclass(slots=True)
class Shown(Message):
    auth_data: bytes | None = pb(3, "bytes")
    auth_method_name: str | None = pb(5, "string")


async def fault(url: str, **more: object) -> WtpError:
    with pytest.raises(WtpError) as caught:
        await knock(BrokerSettings.model_validate({"url": url, **more}))
    error = caught.value
    assert error.exit_code == (4 if isinstance(error, Refused) else 3)
    assert error.hint
    assert error.message.endswith(".")
    return error


async def test_a_broker_that_opens_tells_who_it_is(serve: Serve) -> None:
    port = await serve(pulsar(19, 1234))
    entry = await knock(BrokerSettings(url=f"pulsar://127.0.0.1:{port}"))
    assert entry == Entry("Pulsar Server4.0.7", 19, 1234)


@pytest.mark.parametrize(("secret", "method", "data"), [("", None, None), ("abc", "token", b"abc")])
async def test_what_is_shown_to_a_broker(
    serve: Serve, secret: str, method: str | None, data: bytes | None
) -> None:
    seen: list[bytes] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(65536))
        writer.write(command(Cmd.CONNECTED, Connected(server_version="x", protocol_version=21)))
        await writer.drain()

    port = await serve(play)
    await knock(BrokerSettings(url=f"pulsar://127.0.0.1:{port}", token=secret))
    ((kind, body, _),) = FrameParser().feed(seen[0])
    assert kind == Cmd.CONNECT
    assert Connect.decode(body).protocol_version == 21
    shown = Shown.decode(body)
    assert (shown.auth_method_name, shown.auth_data) == (method, data)
    assert split_command(seen[0][8:])[0] == Cmd.CONNECT


@pytest.mark.parametrize(
    ("play", "code", "words"),
    [
        (answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no-pulsar", "is an HTTP server"),
        (answering(b"SSH-2.0-OpenSSH_9\r\n"), "no-pulsar", "does not answer as a Pulsar does"),
        (answering(b"SSH-2.0-OpenSSH_9\r\n", close=False), "no-pulsar", "as a Pulsar does"),
        (answering(b"220", close=False), "no-pulsar", "as a Pulsar does"),
        (answering(b"\x15\x03\x03\0\2\2P", close=False), "tls-wanted", "wants TLS"),
        (answering(b"\0\0\0\4"), "no-pulsar", "does not answer as a Pulsar does"),
        (answering(command(Cmd.ERROR, Connected())), "no-pulsar", "as a Pulsar does"),
        (answering(b"x" * 200_000), "no-pulsar", "does not answer as a Pulsar does"),
        (answering(b""), "no-pulsar", "closes the connection without an answer"),
        (answering(b"", close=False), "silent", "says nothing"),
        (answering(b"\x15\x03\x03\0\2\2P"), "tls-wanted", "wants TLS"),
        (pulsar(11), "old-broker", "speaks version 11 of Pulsar's protocol; 12 is the least"),
        (pulsar(0), "old-broker", "speaks version 0"),
        (refusing(6, "not serving yet"), "not-ready", "not serving yet"),
        (refusing(3, "Failed to authenticate"), "token-missing", "there is no token"),
    ],
)
async def test_what_answers_wrongly(serve: Serve, play: Play, code: str, words: str) -> None:
    url = f"pulsar://127.0.0.1:{await serve(play)}"
    async with asyncio.timeout(60):
        error = await fault(url)
    assert error.code == code
    assert words in error.message
    assert url in error.message


async def test_other_ways_to_ask_who_we_are_are_left_to_the_client(serve: Serve) -> None:
    port = await serve(answering(command(Cmd.PONG, Error()), close=False))
    assert (await knock(BrokerSettings(url=f"pulsar://127.0.0.1:{port}"))).version == ""


@pytest.mark.parametrize(
    ("secret", "code", "words"),
    [
        (GONE, "token-expired", "it expired"),
        (GOOD, "token-refused", "does not accept the token of"),
        ("rubbish", "token-refused", "it is no JSON web token"),
    ],
)
async def test_tokens_that_are_not_accepted(
    serve: Serve, secret: str, code: str, words: str
) -> None:
    port = await serve(refusing(3, "Failed to authenticate"))
    error = await fault(f"pulsar://127.0.0.1:{port}", token=secret)
    assert (error.code, error.exit_code) == (code, 4)
    assert words in error.message
    assert "WTP_BROKER_TOKEN" in error.message
    assert secret not in repr(error) + str(error)


async def test_nothing_and_nobody(free_port: Callable[[], int]) -> None:
    error = await fault(f"pulsar://127.0.0.1:{free_port()}")
    assert error.code == "no-answer"
    assert "wtp broker" in error.hint
    assert (await fault("pulsar://nobody.invalid")).code == "unknown-host"


async def test_a_black_hole() -> None:
    """A full backlog swallows connections as a firewall does."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        async with asyncio.timeout(60):
            error = await fault(f"pulsar://127.0.0.1:{listening.getsockname()[1]}")
    assert error.code == "no-answer"
    assert "within" in error.message


async def test_the_first_host_that_opens_is_enough(
    serve: Serve, free_port: Callable[[], int]
) -> None:
    closed = free_port()
    silent, good = await serve(answering(b"", close=False)), await serve(pulsar())
    url = f"pulsar://127.0.0.1:{closed},127.0.0.1:{silent},127.0.0.1:{good}"
    assert (await knock(BrokerSettings(url=url))).protocol == 21


async def test_of_several_faults_the_one_that_says_most(
    serve: Serve, free_port: Callable[[], int]
) -> None:
    closed = free_port()
    refuses = await serve(refusing(3, "Failed to authenticate"))
    url = f"pulsar://127.0.0.1:{closed},127.0.0.1:{refuses}"
    assert (await fault(url)).code == "token-missing"
    error = await fault(f"pulsar://127.0.0.1:{closed},nobody.invalid")
    assert error.code == "no-answer"
    assert f"pulsar://127.0.0.1:{closed},nobody.invalid" in error.message


async def test_tls_that_is_trusted(serve: Serve, papers: Papers) -> None:
    port = await serve(pulsar(), papers.server.server())
    for host in ("localhost", "127.0.0.1"):
        settings = BrokerSettings(url=f"pulsar+ssl://{host}:{port}", ca=papers.ca)
        assert (await knock(settings)).protocol == 21


async def test_certificates_that_are_not_believed(serve: Serve, papers: Papers) -> None:
    good = await serve(pulsar(), papers.server.server())
    strange = await serve(pulsar(), papers.elsewhere.server())
    old = await serve(pulsar(), papers.expired.server())
    for port, ca, code, words in (
        (good, papers.other_ca, "tls-trust", "signed by nobody who is trusted"),
        (good, "", "tls-trust", "signed by nobody who is trusted"),
        (strange, papers.ca, "tls-name", "does not bear the name '127.0.0.1'"),
        (old, papers.ca, "tls-expired", "has expired"),
    ):
        error = await fault(f"pulsar+ssl://127.0.0.1:{port}", ca=ca)
        assert (error.code, error.exit_code) == (code, 3)
        assert words in error.message
    careless = {"url": f"pulsar+ssl://127.0.0.1:{strange}", "ca": papers.ca, "verify_host": False}
    assert (await knock(BrokerSettings.model_validate(careless))).protocol == 21


@contextlib.contextmanager
def choosy(context: ssl.SSLContext) -> Iterator[int]:
    """A broker in a thread, since asyncio's server does not say why it breaks TLS off."""
    answer = command(Cmd.CONNECTED, Connected("Pulsar", 21))

    def play(listening: socket.socket) -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            with plain, contextlib.suppress(OSError), context.wrap_socket(plain, True) as secure:
                secure.recv(65536)
                secure.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=play, args=(listening,))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_client_certificates(papers: Papers) -> None:
    with choosy(papers.server.server(clients=papers.ca)) as port:
        url = f"pulsar+ssl://localhost:{port}"
        mine = {"cert": papers.client.cert, "key": papers.client.key}
        assert await knock(BrokerSettings.model_validate({"url": url, "ca": papers.ca, **mine}))
        error = await fault(url, ca=papers.ca)
        assert (error.code, error.exit_code) == ("cert-refused", 4)
        assert "wants a certificate" in error.message
        error = await fault(url, ca=papers.ca, cert=papers.stranger.cert, key=papers.stranger.key)
        assert (error.code, error.exit_code) == ("cert-refused", 4)
        assert "does not accept this client certificate" in error.message


async def test_a_certificate_that_says_who_we_are(serve: Serve, papers: Papers) -> None:
    port = await serve(refusing(3, "Failed to authenticate"), papers.server.server())
    mine = {"cert": papers.client.cert, "key": papers.client.key}
    error = await fault(f"pulsar+ssl://localhost:{port}", ca=papers.ca, **mine)
    assert (error.code, error.exit_code) == ("cert-refused", 4)


async def test_a_plain_url_to_a_port_for_tls(serve: Serve, papers: Papers) -> None:
    port = await serve(pulsar(), papers.server.server())
    error = await fault(f"pulsar://localhost:{port}", token=GOOD)
    assert (error.code, error.exit_code) == ("tls-wanted", 3)
    assert f"pulsar+ssl://localhost:{port}" in error.hint


async def test_tls_to_a_plain_port_shows_it_no_token(serve: Serve, papers: Papers) -> None:
    seen: list[bytes] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(65536)
        seen.append(first)
        if FrameParser().feed(first):
            told = Connected(server_version="x", protocol_version=21)
            writer.write(command(Cmd.CONNECTED, told))
            await writer.drain()

    port = await serve(play)
    error = await fault(f"pulsar+ssl://localhost:{port}", ca=papers.ca, token=GOOD)
    assert (error.code, error.exit_code) == ("no-tls", 3)
    assert f"pulsar://localhost:{port}" in error.hint
    assert not any(GOOD.encode() in one for one in seen)


async def test_tls_to_a_port_that_says_nothing(serve: Serve, papers: Papers) -> None:
    port = await serve(answering(b"", close=False))
    error = await fault(f"pulsar+ssl://localhost:{port}", ca=papers.ca)
    assert (error.code, error.exit_code) == ("silent", 3)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_tls_to_something_else(serve: Serve, papers: Papers, answer: bytes) -> None:
    port = await serve(answering(answer))
    assert (await fault(f"pulsar+ssl://localhost:{port}", ca=papers.ca)).code == "no-pulsar"


async def test_what_may_pass_ends_no_router(serve: Serve, free_port: Callable[[], int]) -> None:
    await check_access(BrokerSettings(url=f"pulsar://127.0.0.1:{free_port()}"))
    port = await serve(answering(b"", close=False))
    await check_access(BrokerSettings(url=f"pulsar://127.0.0.1:{port}"))
    port = await serve(refusing(6, "not serving yet"))
    await check_access(BrokerSettings(url=f"pulsar://127.0.0.1:{port}"))
    port = await serve(refusing(3, "Failed to authenticate"))
    with pytest.raises(Refused):
        await check_access(BrokerSettings(url=f"pulsar://127.0.0.1:{port}"))


async def test_the_client_knocks_once_and_again_after_a_fault(serve: Serve) -> None:
    refuse = refusing(3, "Failed to authenticate")
    answers = [refuse, refuse, pulsar()]

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(reader, writer)

    client = connect(BrokerSettings(url=f"pulsar://127.0.0.1:{await serve(play)}"))
    try:
        for _ in range(2):
            for error in await asyncio.gather(
                client.producer("a"), client.producer("b"), return_exceptions=True
            ):
                assert isinstance(error, Refused)
        for _ in range(2):
            await asyncio.gather(client.enter(), client.enter())
        assert not answers
    finally:
        await client.close()


async def test_closing_ends_a_knock(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accessprobe, "ANSWER_S", 30.0)
    knocked = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocked.set()
        await reader.read()

    client = connect(BrokerSettings(url=f"pulsar://127.0.0.1:{await serve(play)}"))
    opening = asyncio.create_task(client.producer("a"))
    async with asyncio.timeout(60):
        await knocked.wait()
        await client.close()
        with pytest.raises(BrokerUnavailable, match="is closed"):
            await opening


def test_every_sentence_names_a_next_step() -> None:
    for secret, cert in (("", ""), (GOOD, ""), (GONE, ""), ("", "c.pem")):
        broker = BrokerSettings(token=secret, cert=cert)
        assert accessfaults.not_authenticated("pulsar://h", broker, secret).hint
