"""The ways to a broker, and the one error that matters of several tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from wtp.config.schema import BrokerSettings
from wtp.consumer.ports import Broker, Directory

Via = Literal["pulsar", "pulsar-ws"]
"""How the broker is reached: Pulsar's own protocol, or its WebSocket API."""


def shown_url(settings: BrokerSettings, via: Via) -> str:
    """Where the broker is, on the chosen way."""
    if via == "pulsar":
        return settings.url
    from wtp.broker.access import shown
    from wtp.broker.websocketline import api_url

    return shown(api_url(settings))


def connect_by(settings: BrokerSettings, via: Via, _url: str) -> Broker:
    """A client of the broker."""
    if via == "pulsar-ws":
        from wtp.broker.websocket import connect_websocket

        return connect_websocket(settings)
    from wtp.broker.connect import connect

    return connect(settings)


def directory_of(
    settings: BrokerSettings, _url: str
) -> contextlib.AbstractAsyncContextManager[Directory]:
    """A client of the broker's admin API."""
    from wtp.broker.connect import administer

    return administer(settings)


@contextlib.contextmanager
def first_error() -> Iterator[None]:
    """Raise the one error that matters out of a (nested) group."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
