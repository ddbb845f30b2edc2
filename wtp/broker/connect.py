"""From settings to clients of the broker: the one place that knows how one gets in."""

from __future__ import annotations

from wtp.broker.access import warn_of_open_token
from wtp.broker.client import BrokerClient
from wtp.broker.topics import Admin
from wtp.config.schema import BrokerSettings


def connect(broker: BrokerSettings) -> BrokerClient:
    """A client of the broker that the settings name; to be called on a running loop.

    Raises:
        BrokerUnavailable: The URL is none of a broker.
        ConfigError: A file of the settings (token, certificates) cannot be used.
    """
    warn_of_open_token(broker)
    return BrokerClient(broker.url, broker)


def administer(broker: BrokerSettings) -> Admin:
    """A client of that broker's admin API.

    Raises:
        UsageError: The URL is none of HTTP.
        ConfigError: A file of the settings (token, certificates) cannot be used.
    """
    warn_of_open_token(broker)
    return Admin(broker.admin, broker)
