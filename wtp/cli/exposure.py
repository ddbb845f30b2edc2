"""How a running command lets others see its figures (`--metrics`, `$WTP_HOME/run`)."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wtp.config.schema import Settings
from wtp.errors import WtpError

if TYPE_CHECKING:
    from wtp.children.figures import Pages
    from wtp.metrics import Latency

Snapshot = dict[str, Any]
Ready = Callable[[Snapshot], None]
Latencies = Callable[[], "Mapping[str, Latency]"]

log = logging.getLogger("wtp")


@dataclass(frozen=True)
class Exposure:
    """What is shown of a role, and where.

    Attributes:
        name: Its command.
        settings: `metrics.listen`, and the room.
        child: Whether it has a parent, whose address in the environment may be taken already.
        served: The URL at which the role serves its figures by itself, out of its info.
        latencies: Its histograms by hop, `total` beside them.
        pages: What is served, where its snapshot and name do not say it.
    """

    name: str
    settings: Settings
    child: bool = False
    served: Callable[[Snapshot], str] | None = None
    latencies: Latencies | None = None
    pages: Pages | None = None

    @contextlib.asynccontextmanager
    async def around(self, snapshot: Callable[[], Snapshot], ready: Ready) -> AsyncIterator[Ready]:
        """Show figures while the context lasts.

        Args:
            snapshot: The role's figures.
            ready: Told when the role is usable.

        Yields:
            What is to be told in its place.

        Raises:
            WtpError: The address of `--metrics` cannot be used.
        """
        async with contextlib.AsyncExitStack() as stack:
            listen = self.settings.metrics.listen
            if listen:
                url = await self._serve(listen, snapshot, stack)
                log.info("figures at %s/stats and %s/metrics", url, url)
                if self.served is None:
                    self._lay(url, stack)

            def usable(info: Snapshot) -> None:
                if self.served is not None:
                    self._lay(self.served(info), stack)
                ready(info)

            yield usable

    async def _serve(
        self, listen: str, snapshot: Callable[[], Snapshot], stack: contextlib.AsyncExitStack
    ) -> str:
        from wtp.children.figures import serve_figures, simple_pages
        from wtp.children.prometheus import exposition

        pages = self.pages
        if pages is None:
            pages = simple_pages(snapshot, exposition(self.name, snapshot, self.latencies))
        try:
            return await stack.enter_async_context(serve_figures(listen, pages))
        except WtpError as error:
            if not self.child or error.code != "bind":
                raise
        free = f"{listen.rpartition(':')[0]}:0"
        return await stack.enter_async_context(serve_figures(free, pages))

    def _lay(self, url: str, stack: contextlib.AsyncExitStack) -> None:
        from wtp.children.exposed import Exposed, lay
        from wtp.clock import wall_us
        from wtp.config.load import home

        room = "" if self.name in ("router", "broker") else self.settings.rooms.room
        stack.enter_context(lay(home(), Exposed(self.name, os.getpid(), url, room, wall_us())))
