"""Chromium and Firefox talk to the server: streams both ways, datagrams, close, many streams."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from wtp.errors import Refused
from wtp.transport.certs import Certificate
from wtp.transport.server import Server
from wtp.transport.session import Session

from .conftest import ServeCall
from .support import Echo

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><title>t</title><script>
const url = new URLSearchParams(location.search);
const hash = Uint8Array.from(url.get('hash').match(/../g), h => parseInt(h, 16));
const target = `https://127.0.0.1:${url.get('port')}/wt`;
const options = {serverCertificateHashes: [{algorithm: 'sha-256', value: hash}]};
const result = {};
async function whole(stream) {
  let size = 0;
  for (const reader = stream.getReader();;) {
    const {value, done} = await reader.read();
    if (done) return size;
    size += value.length;
  }
}
async function send(wt, size) {
  const writer = (await wt.createUnidirectionalStream()).getWriter();
  await writer.write(new Uint8Array(size));
  await writer.close();
}
async function main() {
  const wt = new WebTransport(target + '?room=r', options);
  await wt.ready;
  const incoming = wt.incomingUnidirectionalStreams.getReader();
  await send(wt, 300000);
  result.echo = await whole((await incoming.read()).value);
  const datagrams = wt.datagrams.readable.getReader();
  const writer = wt.datagrams.writable.getWriter();
  await writer.write(new Uint8Array(900));
  result.datagram = (await datagrams.read()).value.length;
  const answers = (async () => {  // read along: a browser grants about a hundred streams at once
    result.many = 0;
    for (let n = 0; n < 300; n++) result.many += await whole((await incoming.read()).value);
  })();
  for (let n = 0; n < 300; n++) await send(wt, 1000);
  await answers;
  wt.close({closeCode: 7, reason: 'bye'});
  await wt.closed;
  const refused = new WebTransport(target + '?refuse=1', options);
  await refused.ready;
  const info = await refused.closed;
  result.refused = [info.closeCode, info.reason];
}
main().catch(error => { result.error = String(error); })
  .then(() => fetch('/result', {method: 'POST', body: JSON.stringify(result)}));
</script>"""


class Reports:
    """Serves the page and collects what it reports."""

    def __init__(self) -> None:
        self.port = 0
        self.found: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def result(self, request: web.Request) -> web.Response:
        if not self.found.done():
            self.found.set_result(json.loads(await request.text()))
        return web.Response()


@pytest.fixture
async def reports() -> AsyncIterator[Reports]:
    collected = Reports()
    app = web.Application()
    app.add_routes([web.get("/", collected.page), web.post("/result", collected.result)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collected.port = runner.addresses[0][1]
    yield collected
    await runner.cleanup()


def command(browser: str, profile: Path, url: str) -> list[str]:
    if browser == "chromium":
        return [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={profile}",
            url,
        ]
    return ["firefox-esr", "--headless", "--no-remote", "--profile", str(profile), url]


@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize("browser", ["chromium", "firefox-esr"])
async def test_browser(
    start: ServeCall,
    certificate: Certificate,
    reports: Reports,
    tmp_path: Path,
    browser: str,
    retry: bool,
) -> None:
    if shutil.which(browser) is None:
        pytest.skip(f"{browser} is not installed")
    echoes: list[Echo] = []

    def accept(session: Session) -> Echo:
        if "refuse" in session.query:
            raise Refused("not you", code="token")
        echoes.append(Echo())
        echoes[-1].session = session
        return echoes[-1]

    server: Server = await start(accept, retry=retry)
    query = f"port={server.address[1]}&hash={certificate.sha256}"
    url = f"http://127.0.0.1:{reports.port}/?{query}"
    process = await asyncio.create_subprocess_exec(
        *command(browser, tmp_path, url),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            result = await reports.found
    finally:
        process.terminate()
        await process.wait()
    assert result == {
        "echo": 300_000,
        "datagram": 900,
        "many": 300_000,
        "refused": [0x11, "not you"],
    }
    assert await echoes[0].was_closed() == (7, "bye")
