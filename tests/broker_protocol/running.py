"""A broker in a thread of its own, and the unmodified `pulsar` client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pulsar

from wtp.broker.embedded.core import Settings
from wtp.broker.embedded.server import BrokerServer, BrokerSettings, run_broker, serve_broker
from wtp.broker.embedded.values import FsyncPolicy


class BrokerThread:
    """A broker whose loop runs in a thread; `call` runs something on that loop."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.server: BrokerServer
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the test that waits
            self._failure = error
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.server = await serve_broker(self.settings)
        self._ready.set()
        await self._stop.wait()
        await self.server.close()

    def start(self) -> BrokerThread:
        self._thread.start()
        assert self._ready.wait(60)
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(15)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        host, port = self.server.address
        return f"pulsar://{host}:{port}"

    def call(self, work: Any) -> Any:
        """Run a coroutine on the broker's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


@contextmanager
def broker(
    folder: Path, fsync: FsyncPolicy = FsyncPolicy.INTERVAL, **protocol: Any
) -> Iterator[BrokerThread]:
    """A broker on free ports, its data in `folder`."""
    settings = BrokerSettings(
        folder, port=0, http_port=None, fsync=fsync, protocol=Settings(**protocol)
    )
    thread = BrokerThread(settings).start()
    try:
        yield thread
    finally:
        thread.stop()


@contextmanager
def client(url: str, **more: Any) -> Iterator[pulsar.Client]:
    """An unmodified client, closed whatever happens."""
    logger = pulsar.FileLogger(pulsar.LoggerLevel.Error, "/dev/null")
    made = pulsar.Client(url, logger=logger, operation_timeout_seconds=10, **more)
    try:
        yield made
    finally:
        made.close()


def main() -> None:
    """Run a broker as a process: arguments are folder and port (see `test_restart`)."""
    import signal
    import sys

    async def serve() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        folder, port, fsync = sys.argv[1:4]
        settings = BrokerSettings(
            Path(folder), port=int(port), http_port=None, fsync=FsyncPolicy(fsync)
        )
        await run_broker(settings, stop)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
