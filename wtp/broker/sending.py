"""One producer of `pulsar-client`, with receipts on the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pulsar

from wtp.broker.messages import translate
from wtp.errors import BrokerError, Refused, WtpError

if TYPE_CHECKING:
    from wtp.broker.client import BrokerClient

Done = Callable[[BrokerError | Refused | None], None]

LIVE_SEND_TIMEOUT_MS = 2000
"""A live object that has no receipt by then is given up; it would be worthless anyway."""


def open_producer(raw: Any, topic: str, name: str, max_pending: int) -> Any:
    """Open a producer of the client's own kind; blocks.

    A partitioned topic keeps the order of each key, whose hash names the partition.
    """
    return raw.create_producer(
        topic,
        producer_name=name or None,
        send_timeout_millis=0 if name else LIVE_SEND_TIMEOUT_MS,
        max_pending_messages=max_pending,
        block_if_queue_full=False,
        batching_enabled=False,
    )


class Producer:
    """One producer; made by `BrokerClient.producer`."""

    def __init__(self, client: BrokerClient, raw: Any, topic: str) -> None:
        self.topic = topic
        self._client = client
        self._raw = raw
        self.last_seq: int = raw.last_sequence_id()
        """Last sequence id the broker had of this name when the producer opened; -1 for none."""

    def send(
        self,
        payload: bytes,
        *,
        properties: dict[str, str],
        key: str,
        event_ms: int,
        seq: int | None,
        done: Done,
    ) -> None:
        """Hand an object over; never blocks.

        Args:
            payload: The bytes.
            properties: Strings only.
            key: Partition key.
            event_ms: Event time in Unix ms; 0 for none.
            seq: Sequence id from 1 on, for a named producer; None otherwise.
            done: Called on the loop with None after the broker's receipt, or with the error; see
                `wtp.broker.messages.permanent`.
        """
        post = self._client.inbox.post

        def on_receipt(result: Any, _message_id: Any) -> None:
            post(self._finish, done, result)

        try:
            self._raw.send_async(
                payload,
                on_receipt,
                properties=properties,
                partition_key=key,
                sequence_id=seq,
                event_timestamp=event_ms if event_ms > 0 else None,
            )
        except pulsar.PulsarException as error:
            done(translate(type(error).__name__, self._client.url, "send"))

    def _finish(self, done: Done, result: Any) -> None:
        if result == pulsar.Result.Ok:
            done(None)
        else:
            done(translate(result.name, self._client.url, "send"))

    @property
    def connected(self) -> bool:
        """Whether the broker is there at this moment."""
        return bool(self._raw.is_connected())

    async def flush(self) -> None:
        """Wait until everything handed over has its receipt or failed."""
        await self._client.call("flush", self._raw.flush)

    async def close(self) -> None:
        """Close; errors on the way out are of no interest."""
        with contextlib.suppress(WtpError):
            await self._client.call("close", self._raw.close)
