"""The brokers under contract: the embedded one and a real Pulsar, tuned and with its defaults."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulsar

from tests.e2e.stage import Run, Stage
from tests.pulsar import RealPulsar

EARLIEST = pulsar.InitialPosition.Earliest
QUIET_MS = 150
"""How long nothing has to come before a consumer counts as empty."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the admin REST answered."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Target(ABC):
    """A broker that is held to the contract.

    Attributes:
        name: `embedded`, `real` or `factory`.
        url: For Pulsar clients.
        admin: Base address of the admin REST API.
    """

    name: str
    url: str
    admin: str

    @property
    def deduplicates(self) -> bool:
        """Whether a sequence id sent again is stored once."""
        return self.name != "factory"

    @property
    def retains(self) -> bool:
        """Whether acknowledged messages are kept for readers of the past."""
        return self.name != "factory"

    @abstractmethod
    def restart(self, *, hard: bool = False) -> None:
        """End it (kill -9 with `hard`) and start it on its data and addresses."""

    def call(self, method: str, path: str, body: object = None) -> Answer:
        """Send an admin request; `path` follows /admin/v2/."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.admin}/admin/v2/{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=20.0) as answer:
                return Answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read())


class Embedded(Target):
    """The embedded broker, a process of its own."""

    name = "embedded"

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        self.url, self.admin = self.stage.broker_url, self.stage.admin_url
        self._run: Run = self.stage.broker()

    def __enter__(self) -> Embedded:
        return self

    def __exit__(self, *_: object) -> None:
        left = self.stage.close()
        assert not left, "\n".join(left)

    def restart(self, *, hard: bool = False) -> None:
        """End it and start it again."""
        if hard:
            self.stage.kill_hard(self._run)
        else:
            self._run.finish()
        self._run = self.stage.broker()


class Real(Target):
    """A real Pulsar."""

    def __init__(self, pulsar: RealPulsar, name: str) -> None:
        self.name = name
        self._pulsar = pulsar
        self.url, self.admin = pulsar.url, pulsar.admin

    def restart(self, *, hard: bool = False) -> None:
        """End it and start it again."""
        self._pulsar.restart(hard=hard)


@contextmanager
def connected(url: str, **more: Any) -> Iterator[pulsar.Client]:
    """An unmodified client, closed whatever happens."""
    logger = pulsar.FileLogger(pulsar.LoggerLevel.Error, "/dev/null")
    client = pulsar.Client(url, logger=logger, operation_timeout_seconds=30, **more)
    try:
        yield client
    finally:
        client.close()


def fill(client: pulsar.Client, topic: str, count: int, **more: Any) -> list[str]:
    """Publish `m0`, `m1`, ...; returns them."""
    producer = client.create_producer(topic, **more)
    sent = [f"m{n}" for n in range(count)]
    for text in sent:
        producer.send(text.encode())
    producer.close()
    return sent


def take(consumer: pulsar.Consumer, count: int, timeout_ms: int = 8000) -> list[pulsar.Message]:
    """Receive `count` messages, none acknowledged."""
    return [consumer.receive(timeout_ms) for _ in range(count)]


def receive(consumer: pulsar.Consumer, count: int, timeout_ms: int = 8000) -> list[str]:
    """Receive and acknowledge `count` messages; returns their text."""
    got = []
    for _ in range(count):
        message = consumer.receive(timeout_ms)
        consumer.acknowledge(message)
        got.append(message.data().decode())
    return got


def drain(consumer: pulsar.Consumer, quiet_ms: int = 400) -> list[pulsar.Message]:
    """Receive and acknowledge until nothing comes."""
    got: list[pulsar.Message] = []
    while True:
        try:
            message = consumer.receive(quiet_ms)
        except pulsar.Timeout:
            return got
        consumer.acknowledge(message)
        got.append(message)


def texts(messages: list[pulsar.Message]) -> list[str]:
    """The messages' payloads as text."""
    return [message.data().decode() for message in messages]


def empty(consumer: pulsar.Consumer, quiet_ms: int = QUIET_MS) -> bool:
    """Whether nothing comes."""
    try:
        message = consumer.receive(quiet_ms)
    except pulsar.Timeout:
        return True
    raise AssertionError(f"It got {message.data()!r}.")


def read_all(client: pulsar.Client, topic: str, start: Any = None) -> list[str]:
    """Everything that a reader finds in a topic."""
    reader = client.create_reader(topic, start or pulsar.MessageId.earliest)
    got: list[str] = []
    while reader.has_message_available():
        got.append(reader.read_next(8000).data().decode())
    reader.close()
    return got
