"""The whole path in one process, of real parts, with a known delay at every hop.

    test picture, encoder, publisher -> UDP line -> router -> HTTP processor -> router
    -> TCP line -> embedded broker -> consumer -> decoder -> screen

Delays at devices are slept in the threads that own these; all others pass on the loop, so that
none holds another hop up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from tests.broker_protocol.running import BrokerThread
from tests.services.servers import echo, processor
from tests.truth.lines import Delay, tcp_line, udp_line
from wtp.broker.embedded.server import BrokerSettings as EmbeddedSettings
from wtp.clock import monotonic_us
from wtp.config.schema import (
    BrokerSettings,
    PublishSettings,
    RoomSettings,
    RouterSettings,
    ServiceSettings,
    Settings,
)
from wtp.consumer.item import Item
from wtp.consumer.pictures import Decoded
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.media.picture import Picture
from wtp.media.testsrc import read_code
from wtp.model import Kind, Object
from wtp.publisher.choice import VideoInput
from wtp.publisher.pictures import VideoFeed
from wtp.publisher.run import Publisher
from wtp.publisher.unit import Unit
from wtp.router.route import Drop
from wtp.router.run import Router
from wtp.transport.trust import Trust

FPS = 10.0
SITES = (
    "encode", "send", "network", "processor", "router", "broker", "output", "decode", "show",
)  # fmt: skip
"""Where delays can be put in."""

START_S = 60.0


class Sleeping:
    """Something whose method takes a delay longer, in the thread that calls it."""

    def __init__(self, real: Any, method: str, delay: Delay) -> None:
        self._real, self._method, self._delay = real, method, delay

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return self._slowly if name == self._method else found

    def _slowly(self, *args: Any, **more: Any) -> Any:
        sleep(self._delay)
        return getattr(self._real, self._method)(*args, **more)


def sleep(delay: Delay) -> None:
    """Sleep for a delay, and note how long it was."""
    if delay.wanted_s:
        began_us = monotonic_us()
        time.sleep(delay.wanted_s)
        delay.done_us.append(monotonic_us() - began_us)


class Display:
    """A screen that reads the time that was drawn into each picture.

    Attributes:
        ages_us: From drawn to shown.
    """

    def __init__(self, delay: Delay, now_us: Callable[[], int]) -> None:
        self.ages_us: list[int] = []
        self._delay, self._now_us = delay, now_us

    def open(self) -> None:
        """Nothing to do."""

    def show(self, picture: Picture, item: Item) -> bool:
        """Take the age of a picture, once it is shown."""
        sleep(self._delay)
        drawn_us = read_code(picture.planes)
        if drawn_us is not None and item.live:
            self.ages_us.append(self._now_us() - drawn_us)
        return True

    def say(self, sentence: str) -> None:
        """Nothing to do."""

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class Output(Decoded):
    """Decodes, late when that is wanted, and is busy until the next object has waited."""

    def __init__(self, screen: Display, decode: Delay, output: Delay) -> None:
        super().__init__(screen)
        self._decode_delay, self._output_delay = decode, output
        self.consumer: Consumer | None = None

    def take(self, items: Sequence[Item]) -> list[str]:
        """Decode and show; then be busy until the next object has waited for the delay."""
        reasons = super().take(items)
        delay = self._output_delay
        while delay.wanted_s:
            came_us = self._next_us()
            if came_us is not None:
                until_us = came_us + round(delay.wanted_s * 1e6)
                time.sleep(max(0, until_us - monotonic_us()) / 1e6)
                delay.done_us.append(monotonic_us() - came_us)
                break
            time.sleep(0.001)
        return reasons

    def _next_us(self) -> int | None:
        """When the next object came, if it is there."""
        waiting = self.consumer._pending._items if self.consumer else None
        return waiting[0].message.receive_monotonic_us if waiting else None

    def _decoder(self, item: Item) -> Any:
        return Sleeping(super()._decoder(item), "decode", self._decode_delay)


class LateStage:
    """A stage whose results reach the route late: the router itself is slow."""

    def __init__(self, real: Any, delay: Delay) -> None:
        self._real, self._delay = real, delay
        self.close = real.close

    def put(self, obj: Object, done: Callable[[list[Object] | Drop], None]) -> None:
        """Pass an object through."""
        self._real.put(obj, lambda result: self._delay.call(done, result))


class Whole:
    """What runs, and the delays in it.

    Attributes:
        delays: By site.
        consumer: Whose figures are looked at.
        display: Where pictures end.
    """

    def __init__(self) -> None:
        self.delays = {site: Delay() for site in SITES}
        self.router: Router
        self.publisher: Publisher
        self.consumer: Consumer
        self.display: Display

    async def measure(self, count: int) -> None:
        """Let a few objects pass, then have the figures of so many in the statistics."""
        await self._shown(3)
        for delay in self.delays.values():
            delay.done_us.clear()
        await self._shown(count)

    async def _shown(self, count: int) -> None:
        self.consumer.stats.reset_latency()
        self.display.ages_us.clear()
        async with asyncio.timeout(START_S):
            while self.consumer.stats.capture_to_show.n < count:
                await asyncio.sleep(0.01)

    def equip(self) -> None:
        """Put the delays into encoder, hand-over and router, once these are there."""
        (feed,) = cast("list[VideoFeed]", self.publisher._feeds)
        capture, deliver = feed._capture, feed._deliver
        capture._encoder = cast(Any, Sleeping(capture._encoder, "encode", self.delays["encode"]))

        def late(units: Sequence[Unit], lost: int) -> None:
            self.delays["send"].call(deliver, units, lost)

        capture._handover._deliver = late
        rooms = self.router._rooms
        assert rooms is not None
        (route,) = rooms.routes.values()
        route.stage = LateStage(route.stage, self.delays["router"])


@asynccontextmanager
async def whole(folder: Path) -> AsyncIterator[Whole]:
    """Everything, running, with pictures arriving."""
    made = Whole()
    async with AsyncExitStack() as stack:
        embedded = BrokerThread(EmbeddedSettings(folder / "broker", port=0, http_port=0))
        await asyncio.to_thread(embedded.start)
        stack.push_async_callback(asyncio.to_thread, embedded.stop)
        http = embedded.server.http_address
        assert http is not None
        broker = BrokerSettings(url=embedded.url, admin=f"http://{http[0]}:{http[1]}", start=False)

        async def answer(request: web.Request) -> web.Response:
            delay = made.delays["processor"]
            if delay.wanted_s:
                began_us = monotonic_us()
                await asyncio.sleep(delay.wanted_s)
                delay.done_us.append(monotonic_us() - began_us)
            return await echo(request)

        service = await stack.enter_async_context(processor(answer))
        port = int(embedded.url.rpartition(":")[2])
        line = await stack.enter_async_context(tcp_line(port, made.delays["broker"]))
        near = broker.model_copy(update={"url": f"pulsar://127.0.0.1:{line}"})
        router = RouterSettings(listen="127.0.0.1:0", certs=str(folder / "certs"))
        made.router = Router(
            Settings(router=router, broker=near, services={"video": ServiceSettings(url=service)})
        )
        info = await _run(stack, made.router)
        host, _, number = info["address"].rpartition(":")
        air = await stack.enter_async_context(udp_line((host, int(number)), made.delays["network"]))
        made.publisher = Publisher(
            Settings(
                router=RouterSettings(url=f"https://127.0.0.1:{air}/wt"),
                publish=PublishSettings(gop=1, adapt=False),
            ),
            [VideoInput("testsrc", size=(160, 120), fps=FPS)],
            name="cam",
            trust=Trust(cert_hash=info["cert_hash"]),
        )
        await _run(stack, made.publisher)
        made.equip()
        made.display = Display(made.delays["show"], made.publisher._clock.now_us)
        output = Output(made.display, made.delays["decode"], made.delays["output"])
        settings = Settings(broker=broker, rooms=RoomSettings(room="default"))
        made.consumer = Consumer(settings, Request(kind=Kind.VIDEO, wait=True), output)
        output.consumer = made.consumer
        await _run(stack, made.consumer)
        yield made


async def _run(stack: AsyncExitStack, role: Any) -> dict[str, Any]:
    """Run a role until the stack ends; returns what it said when it was ready."""
    ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(role.run(ready.set_result))

    async def end() -> None:
        role.stop()
        await asyncio.wait_for(task, START_S)

    stack.push_async_callback(end)
    async with asyncio.timeout(START_S):
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return await ready
