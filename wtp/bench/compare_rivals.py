"""The protocols that are compared, the uses they are compared for, and what they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from wtp.errors import UsageError

EXTRA = "pip install 'wtp[compare]'"


@dataclass(frozen=True, slots=True)
class Rival:
    """One protocol.

    Attributes:
        key: Its name on the command line.
        title: Its name in tables.
        module: Where both its ends are.
        stack: Which libraries speak it, at the sender and the receiver.
        options: For both ends.
        reliable: Whether everything arrives, unless the connection ends.
        tls: Whether it is encrypted here.
        needs: Modules of the extra that it needs.
        between: What stands between both ends; empty: nothing.
    """

    key: str
    title: str
    module: str
    stack: str
    options: dict[str, Any] = field(default_factory=dict)
    reliable: bool = True
    tls: bool = True
    needs: tuple[str, ...] = ()
    between: str = ""

    @property
    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]


STREAMS, WEBSOCKET = "wt-streams", "websocket"

RIVALS = (
    Rival("rest1", "REST HTTP/1.1", "wtp.bench.rival_rest1", "aiohttp, aiohttp"),
    Rival("rest2", "REST HTTP/2", "wtp.bench.rival_rest2", "httpx, hypercorn",
          needs=("httpx", "h2", "hypercorn")),
    Rival(WEBSOCKET, "WebSocket", "wtp.bench.rival_websocket", "aiohttp, aiohttp"),
    Rival("rtc-reliable", "WebRTC reliable", "wtp.bench.rival_webrtc", "aiortc, aiortc",
          {"reliable": True}, needs=("aiortc",)),
    Rival("rtc-lossy", "WebRTC unordered", "wtp.bench.rival_webrtc", "aiortc, aiortc",
          {"reliable": False}, reliable=False, needs=("aiortc",)),
    Rival(STREAMS, "WebTransport streams", "wtp.bench.rival_webtransport",
          "wtp on aioquic, the same", {"datagrams": False}),
    Rival("wt-datagrams", "WebTransport datagrams", "wtp.bench.rival_webtransport",
          "wtp on aioquic, the same", {"datagrams": True}, reliable=False),
    Rival("pulsar-ws", "Pulsar WebSocket API", "wtp.bench.rival_pulsar",
          "aiohttp, embedded broker, aiohttp", tls=False, between="embedded broker"),
)  # fmt: skip

VIDEO, AUDIO, FILE, ONE_OFF = "live video", "audio", "file", "one-off message"

USES = {"video": VIDEO, "audio": AUDIO, "file": FILE, "one-off": ONE_OFF}
"""Names on the command line to names in tables."""


def choose(names: Sequence[str]) -> tuple[Rival, ...]:
    """The rivals of these names, in the order of the table; none named: all.

    Raises:
        UsageError: There is no such protocol; the hint lists them.
    """
    known = {rival.key: rival for rival in RIVALS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"There is no protocol {unknown[0]!r} to compare.", hint=f"Known: {', '.join(known)}."
        )
    return tuple(rival for rival in RIVALS if not names or rival.key in names)
