"""REST: subscriptions."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.peek import entry_answer
from wtp.broker.embedded.rest import (
    done,
    flag,
    parts_of,
    path_number,
    read_body,
    read_position,
    refuse_partitioned,
    topic_in,
)
from wtp.broker.embedded.values import LATEST, Position
from wtp.errors import NotFound


def subscription_routes(broker: Broker) -> list[web.RouteDef]:
    """Return the routes."""
    subs = SubscriptionRoutes(broker)
    topic = "/admin/v2/{domain:persistent|non-persistent}/{tenant}/{namespace}/{topic}"
    sub = topic + "/subscription/{subscription}"
    return [
        web.get(f"{topic}/subscriptions", subs.subscriptions),
        web.post(f"{topic}/all_subscription/expireMessages/{{seconds}}", subs.expire_all),
        web.put(sub, subs.create),
        web.delete(sub, subs.delete),
        web.post(f"{sub}/resetcursor", subs.reset),
        web.post(f"{sub}/resetcursor/{{time}}", subs.reset_to_time),
        web.post(f"{sub}/skip/{{count}}", subs.skip),
        web.post(f"{sub}/skip_all", subs.skip_all),
        web.post(f"{sub}/expireMessages/{{seconds}}", subs.expire),
        web.get(f"{sub}/position/{{nth}}", subs.peek),
        web.get(f"{sub}/properties", subs.properties),
    ]


class SubscriptionRoutes:
    """What answers for subscriptions."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def subscriptions(self, request: web.Request) -> web.Response:
        """GET {topic}/subscriptions."""
        found = {name for part in self._each(request) for name in self._broker.subscriptions(part)}
        return web.json_response(sorted(found))

    async def create(self, request: web.Request) -> web.Response:
        """PUT {topic}/subscription/{subscription}, body: a message id, or empty for latest."""
        body = await read_body(request)
        start = LATEST if body is None else read_position(body)
        properties = body.get("properties") if isinstance(body, dict) else None
        for name in self._each(request):
            await self._broker.create_subscription(
                name, request.match_info["subscription"], start, properties or {}
            )
        return done()

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE {topic}/subscription/{subscription}?force=."""
        subscription = request.match_info["subscription"]
        for name in self._each(request):
            await self._broker.delete_subscription(name, subscription, force=flag(request, "force"))
        return done()

    async def reset(self, request: web.Request) -> web.Response:
        """POST {topic}/subscription/{subscription}/resetcursor, body: a message id."""
        refuse_partitioned(
            self._broker,
            topic_in(request),
            "Reset-cursor at position is not allowed for partitioned-topic",
        )
        body = await read_body(request)
        target = read_position(body)
        if isinstance(body, dict) and body.get("isExcluded") is True:
            target = Position(target.ledger, target.entry + 1)
        await self._reset(request, target)
        return done()

    async def reset_to_time(self, request: web.Request) -> web.Response:
        """POST {topic}/subscription/{subscription}/resetcursor/{time}."""
        await self._reset(request, path_number(request, "time"))
        return done()

    async def skip(self, request: web.Request) -> web.Response:
        """POST {topic}/subscription/{subscription}/skip/{count}."""
        count = path_number(request, "count")
        topic = topic_in(request)
        refuse_partitioned(
            self._broker, topic, "Skip messages on a partitioned topic is not allowed"
        )
        await self._broker.skip(str(topic), request.match_info["subscription"], count)
        return done()

    async def skip_all(self, request: web.Request) -> web.Response:
        """POST {topic}/subscription/{subscription}/skip_all."""
        for name in self._each(request):
            await self._broker.skip(name, request.match_info["subscription"], None)
        return done()

    async def peek(self, request: web.Request) -> web.Response:
        """GET {topic}/subscription/{subscription}/position/{nth}."""
        topic = topic_in(request)
        refuse_partitioned(
            self._broker, topic, "Peek messages on a partitioned topic is not allowed"
        )
        nth = path_number(request, "nth")
        entry = await self._broker.peek(str(topic), request.match_info["subscription"], nth)
        return entry_answer(entry)

    async def properties(self, request: web.Request) -> web.Response:
        """GET {topic}/subscription/{subscription}/properties."""
        name = request.match_info["subscription"]
        for part in self._each(request):
            found = self._broker.stats(part)["subscriptions"].get(name)
            if found is None:
                raise NotFound("Subscription not found")
        return web.json_response(found.get("subscriptionProperties") or {})

    async def expire(self, request: web.Request) -> web.Response:
        """POST {topic}/subscription/{subscription}/expireMessages/{seconds}."""
        age_s = path_number(request, "seconds")
        for name in self._each(request):
            await self._expire(name, request.match_info["subscription"], age_s)
        return done()

    async def expire_all(self, request: web.Request) -> web.Response:
        """POST {topic}/all_subscription/expireMessages/{seconds}."""
        age_s = path_number(request, "seconds")
        for name in self._each(request):
            for subscription in self._broker.subscriptions(name):
                await self._expire(name, subscription, age_s)
        return done()

    async def _expire(self, name: str, subscription: str, age_s: int) -> None:
        """Acknowledge what was published longer ago than that."""
        if subscription not in self._broker.subscriptions(name):
            raise NotFound("Subscription not found")
        limit_ms = round(time.time_ns() / 1e6) - age_s * 1000

        async def old(nth: int) -> bool:
            await asyncio.sleep(0)  # a long backlog is no reason for clients to wait
            try:
                return (await self._broker.peek(name, subscription, nth)).publish_ms < limit_ms
            except NotFound:
                return False

        low, high = 0, 1
        while await old(high):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await old(middle) else (low, middle)
        if low:
            await self._broker.skip(name, subscription, low)

    async def _reset(self, request: web.Request, target: Position | int) -> None:
        for name in self._each(request):
            await self._broker.reset_cursor(name, request.match_info["subscription"], target)

    def _each(self, request: web.Request) -> list[str]:
        """Return the names of all partitions, or of the topic when it has none."""
        return parts_of(self._broker, topic_in(request))
