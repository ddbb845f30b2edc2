"""Pulsar's WebSocket API: a producer and a consumer with the embedded broker between them.

The broker stands beside the consumer and stores every object. Its API has no TLS here, and carries
payloads as base64 in JSON text, as Pulsar's own does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from wtp.bench.compare_ends import Security, Take
from wtp.children import Child

TOPIC = "persistent/public/default/compare"
PENDING = 64
"""Objects without a receipt."""
QUEUE = 1000
START_S = 30.0


class Listener:
    """A broker, and a consumer of its topic.

    Attributes:
        address: `host` and `port` of the broker's HTTP side.
        between: The broker.
    """

    def __init__(self, folder: Path, child: Child) -> None:
        self.address: dict[str, Any] = {}
        self.between: list[int] = []
        self._folder = folder
        self._child = child
        self._client: Any = None
        self._ws: Any = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, take: Take) -> None:
        """Start the broker and subscribe."""
        import aiohttp

        await self._child.start()
        async with asyncio.timeout(START_S):
            info = await asyncio.shield(self._child.ready)
        host, _, port = info["admin"].removeprefix("http://").rpartition(":")
        self.address = {"host": host, "port": int(port.rstrip("/"))}
        self.between = [self._child.pid]
        self._client = aiohttp.ClientSession()
        url = f"ws://{host}:{port}/ws/v2/consumer/{TOPIC}/compare?receiverQueueSize={QUEUE}"
        self._ws = await self._client.ws_connect(url, compress=0, max_msg_size=0)
        self._task = asyncio.create_task(self._consume(take))

    async def _consume(self, take: Take) -> None:
        async for message in self._ws:
            fields = json.loads(message.data)
            take(base64.b64decode(fields["payload"]))
            await self._ws.send_str(json.dumps({"messageId": fields["messageId"]}))

    async def close(self) -> None:
        """End the consumer, then the broker."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._ws is not None:
            await self._ws.close()
        if self._client is not None:
            await self._client.close()
        await self._child.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


async def listen(host: str, security: Security, take: Take) -> Listener:
    """Start a broker on a folder of its own, with a consumer beside it."""
    folder = Path(tempfile.mkdtemp(prefix="wtp-compare-"))
    words = ["broker", "--listen", "127.0.0.1:0", "--http", f"{host}:0", "--insecure-no-auth"]
    child = Child([*words, "--data", str(folder / "broker")], env={"WTP_HOME": str(folder)})
    listener = Listener(folder, child)
    try:
        await listener.start(take)
    except BaseException:
        await listener.close()
        raise
    return listener


class Sender:
    """One producer."""

    lanes = 1

    def __init__(self, client: Any, ws: Any) -> None:
        self._client = client
        self._ws = ws
        self._free = asyncio.Semaphore(PENDING)
        self._asked: list[asyncio.Event] = []
        self._task = asyncio.create_task(self._receipts())

    async def _receipts(self) -> None:
        async for _ in self._ws:
            self._free.release()
            for event in self._asked:
                event.set()

    async def send(self, data: bytes) -> bool:
        """Send an object; waits while many are without a receipt."""
        await self._free.acquire()
        await self._ws.send_str(json.dumps({"payload": base64.b64encode(data).decode("ascii")}))
        return True

    async def ask(self, data: bytes) -> None:
        """The broker's receipt is the answer; nothing else may be under way."""
        receipt = asyncio.Event()
        self._asked.append(receipt)
        await self.send(data)
        await receipt.wait()
        self._asked.remove(receipt)

    async def close(self) -> None:
        """Wait for the receipts and close."""
        for _ in range(PENDING):
            await self._free.acquire()
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._ws.close()
        await self._client.close()


async def connect(address: dict[str, Any], security: Security, use: str) -> Sender:
    """Open a producer."""
    import aiohttp

    client = aiohttp.ClientSession()
    url = f"ws://{address['host']}:{address['port']}/ws/v2/producer/{TOPIC}"
    try:
        ws = await client.ws_connect(url, compress=0, max_msg_size=0)
    except BaseException:
        await client.close()
        raise
    return Sender(client, ws)
