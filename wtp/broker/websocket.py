"""The broker through its WebSocket API: for who has nothing but HTTP. Same face as BrokerClient."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from wtp.broker.connect import administer
from wtp.broker.websocketline import Door
from wtp.broker.websocketreading import SocketSubscription
from wtp.broker.websocketsending import SocketProducer
from wtp.config.schema import BrokerSettings

SubscriptionKind = Literal["exclusive", "shared", "failover", "key_shared"]

_KINDS = {
    "exclusive": "Exclusive",
    "shared": "Shared",
    "failover": "Failover",
    "key_shared": "Key_Shared",
}
NACK_DELAY_MS = 1000


class WebSocketClient:
    """Sockets to one broker. `connect_websocket` makes it.

    Args:
        broker: The settings: addresses, trust, token.

    Raises:
        BrokerUnavailable: The address is none of a WebSocket.
        ConfigError: A file of the settings cannot be used.
    """

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        self._door = Door(broker)
        self.url = self._door.url
        self._open: set[SocketSubscription | SocketProducer] = set()
        self._closed = False

    async def answers(self) -> bool:
        """Whether something listens at the API's address."""
        return await self._door.answers()

    async def producer(
        self, topic: str, *, name: str = "", max_pending: int = 1000
    ) -> SocketProducer:
        """Open a producer; see `SocketProducer`.

        Args:
            topic: Full topic name.
            name: A name that no other run ever uses: what has no receipt is kept and sent again.
            max_pending: Messages without receipt that it takes at most.

        Raises:
            BrokerError: `code` is `busy` while another producer has this name.
        """
        producer = SocketProducer(self._door, topic, name, max_pending)
        await producer.open()
        self._open.add(producer)
        return producer

    async def reader(
        self, topic: str, *, start: str = "latest", inclusive: bool = True, queue: int = 100
    ) -> SocketSubscription:
        """Read a topic without leaving a trace; see `BrokerClient.reader`."""
        found = SocketSubscription(
            self._door, topic, queue, query={}, start=start, inclusive=inclusive
        )
        await found.open()
        self._open.add(found)
        return found

    async def subscribe(
        self,
        topic: str,
        name: str,
        *,
        kind: SubscriptionKind = "exclusive",
        start: Literal["earliest", "latest"] = "latest",
        queue: int = 1000,
    ) -> SocketSubscription:
        """Open a durable subscription; see `BrokerClient.subscribe`."""
        query: dict[str, Any] = {
            "subscriptionType": _KINDS[kind],
            "subscriptionInitialPosition": start.capitalize(),
            "negativeAckRedeliveryDelay": NACK_DELAY_MS,
        }
        found = SocketSubscription(self._door, topic, queue, name=name, query=query)
        await found.open()
        self._open.add(found)
        return found

    async def last_position(self, topic: str) -> str | None:
        """Position of the newest message, asked of the admin API; None when the topic is empty."""
        async with administer(self._broker) as admin:
            ledger, entry = await admin.last_message_id(topic)
        return None if ledger < 0 else f"{ledger}:{entry}"

    async def close(self) -> None:
        """Close everything."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(one.close() for one in self._open), return_exceptions=True)
        await self._door.close()


def connect_websocket(broker: BrokerSettings) -> WebSocketClient:
    """A client of the WebSocket API of the broker that the settings name.

    Raises:
        BrokerUnavailable: The address is none of a WebSocket.
        ConfigError: A file of the settings cannot be used.
    """
    return WebSocketClient(broker)
