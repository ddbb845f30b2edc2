"""What the REST routes share: bodies, flags, names in paths."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.values import EARLIEST, LATEST, Position
from wtp.broker.naming import TopicName, parse_namespace, parse_topic
from wtp.errors import NotFound

NO_CONTENT = 204


async def read_body(request: web.Request) -> Any:
    """Return the JSON body, None for an empty one.

    Raises:
        HTTPBadRequest: It is no JSON.
    """
    raw = await request.read()
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(text="The body is not valid JSON.") from None


async def read_object(request: web.Request) -> dict[str, Any]:
    """Return the JSON body, which must be an object or empty.

    Raises:
        HTTPBadRequest: It is something else.
    """
    body = await read_body(request)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="The body must be a JSON object.")
    return body


async def read_number(request: web.Request) -> int:
    """Return the JSON body, which must be an integer.

    Raises:
        HTTPBadRequest: It is something else.
    """
    body = await read_body(request)
    if type(body) is not int:
        raise web.HTTPBadRequest(text="The body must be a number.")
    return body


def path_number(request: web.Request, name: str) -> int:
    """Return a number in the path.

    Raises:
        HTTPNotFound: It is none (as Pulsar's router answers).
    """
    text = request.match_info[name]
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 19:
        raise web.HTTPNotFound(text="HTTP 404 Not Found")
    return int(text)


def flag(request: web.Request, name: str) -> bool:
    """Return a boolean of the query, False when it is absent."""
    return request.query.get(name, "false").lower() == "true"


def topic_in(request: web.Request) -> TopicName:
    """Return the topic that the path names; UsageError when it is none."""
    parts = request.match_info
    return parse_topic(
        f"{parts['domain']}://{parts['tenant']}/{parts['namespace']}/{parts['topic']}"
    )


def namespace_in(request: web.Request) -> str:
    """Return the namespace that the path names; UsageError when it is none."""
    parts = request.match_info
    parse_namespace(f"{parts['tenant']}/{parts['namespace']}")
    return f"{parts['tenant']}/{parts['namespace']}"


def parts_of(broker: Broker, topic: TopicName) -> list[str]:
    """Return the names of all partitions, or of the topic itself when it has none."""
    count = broker.store.partitions(str(topic))
    return [str(topic.part(number)) for number in range(count)] or [str(topic)]


def refuse_partitioned(broker: Broker, topic: TopicName, what: str = "") -> None:
    """Refuse what a partitioned topic cannot do as a whole.

    Args:
        broker: The broker.
        topic: The topic.
        what: What cannot be done, as Pulsar says it; empty where it knows only single topics.

    Raises:
        HTTPMethodNotAllowed: It is partitioned, and `what` says what was wanted.
        NotFound: It is partitioned.
    """
    if not broker.store.partitions(str(topic)):
        return
    if not what:
        raise NotFound(f"Topic {topic} not found")
    body = json.dumps({"reason": what})
    raise web.HTTPMethodNotAllowed("", (), text=body, content_type="application/json")


def read_position(value: object) -> Position:
    """Read a message id in Pulsar's JSON form.

    Args:
        value: `{"ledgerId": n, "entryId": n}`, or the string `earliest` or `latest`.

    Raises:
        HTTPBadRequest: It is none of these.
    """
    if value in ("earliest", "latest"):
        return EARLIEST if value == "earliest" else LATEST
    if isinstance(value, dict):
        ledger, entry = value.get("ledgerId"), value.get("entryId")
        if type(ledger) is int and type(entry) is int:
            return Position(ledger, entry)
    raise web.HTTPBadRequest(text='Send {"ledgerId": n, "entryId": n}.')


def message_id(position: Position, partition: int) -> dict[str, int]:
    """Return a message id in Pulsar's JSON form."""
    return {
        "ledgerId": position.ledger,
        "entryId": position.entry,
        "partitionIndex": partition,
        "batchIndex": -1,
        "batchSize": 0,
    }


def done() -> web.Response:
    """Return the answer to a change: 204 without a body."""
    return web.Response(status=NO_CONTENT)
