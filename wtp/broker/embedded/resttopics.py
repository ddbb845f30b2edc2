"""REST: topics, partitions, subscriptions, messages."""

from __future__ import annotations

from aiohttp import web

from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.peek import entry_answer
from wtp.broker.embedded.rest import (
    done,
    flag,
    message_id,
    namespace_in,
    path_number,
    read_body,
    read_number,
    read_object,
    read_position,
    topic_in,
)
from wtp.broker.embedded.statsum import sum_stats
from wtp.broker.embedded.values import LATEST, Position
from wtp.broker.naming import TopicName
from wtp.errors import NotFound


def topic_routes(broker: Broker) -> list[web.RouteDef]:
    """Return the routes; fixed paths come before those with a topic's name in their place."""
    routes = TopicRoutes(broker)
    subs = SubscriptionRoutes(broker)
    space = "/admin/v2/{domain:persistent|non-persistent}/{tenant}/{namespace}"
    topic = space + "/{topic}"
    sub = topic + "/subscription/{subscription}"
    return [
        web.get(space, routes.topics),
        web.get(f"{space}/partitioned", routes.partitioned),
        web.put(topic, routes.create),
        web.delete(topic, routes.delete),
        web.get(f"{topic}/partitions", routes.partitions),
        web.put(f"{topic}/partitions", routes.create_partitioned),
        web.post(f"{topic}/partitions", routes.update_partitions),
        web.delete(f"{topic}/partitions", routes.delete_partitioned),
        web.get(f"{topic}/stats", routes.stats),
        web.get(f"{topic}/internalStats", routes.internal_stats),
        web.get(f"{topic}/partitioned-stats", routes.partitioned_stats),
        web.put(f"{topic}/unload", routes.unload),
        web.get(f"{topic}/lastMessageId", routes.last_message_id),
        web.get(f"{topic}/messageid/{{time}}", routes.message_id_at),
        web.get(f"{topic}/ledger/{{ledger}}/entry/{{entry}}", routes.message),
        web.get(f"{topic}/retention", routes.retention),
        web.post(f"{topic}/retention", routes.set_retention),
        web.delete(f"{topic}/retention", routes.remove_retention),
        web.get(f"{topic}/subscriptions", subs.subscriptions),
        web.put(sub, subs.create),
        web.delete(sub, subs.delete),
        web.post(f"{sub}/resetcursor", subs.reset),
        web.post(f"{sub}/resetcursor/{{time}}", subs.reset_to_time),
        web.post(f"{sub}/skip/{{count}}", subs.skip),
        web.post(f"{sub}/skip_all", subs.skip_all),
        web.get(f"{sub}/position/{{nth}}", subs.peek),
    ]


class TopicRoutes:
    """What answers for topics."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def topics(self, request: web.Request) -> web.Response:
        """GET {domain}/{tenant}/{namespace}."""
        namespace = namespace_in(request)
        return web.json_response(self._broker.topics(namespace, request.match_info["domain"]))

    async def partitioned(self, request: web.Request) -> web.Response:
        """GET {domain}/{tenant}/{namespace}/partitioned."""
        namespace = namespace_in(request)
        domain = request.match_info["domain"]
        return web.json_response(self._broker.store.partitioned_topics(namespace, domain))

    async def create(self, request: web.Request) -> web.Response:
        """PUT {topic}."""
        await read_object(request)
        await self._broker.create_topic(str(topic_in(request)))
        return done()

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE {topic}?force=."""
        await self._broker.delete_topic(str(topic_in(request)), force=flag(request, "force"))
        return done()

    async def partitions(self, request: web.Request) -> web.Response:
        """GET {topic}/partitions."""
        topic = topic_in(request)
        count = self._broker.store.partitions(str(topic))
        if not count and str(topic) not in self._broker.topics(topic.namespace_path, topic.domain):
            raise NotFound(f"Topic {topic} not found", hint="Create it first.")
        return web.json_response({"partitions": count, "deleted": False})

    async def create_partitioned(self, request: web.Request) -> web.Response:
        """PUT {topic}/partitions, body: a number."""
        count = await self._count(request)
        await self._broker.create_partitioned(str(topic_in(request)), count)
        return done()

    async def update_partitions(self, request: web.Request) -> web.Response:
        """POST {topic}/partitions, body: a number."""
        count = await self._count(request)
        await self._broker.update_partitions(str(topic_in(request)), count)
        return done()

    async def delete_partitioned(self, request: web.Request) -> web.Response:
        """DELETE {topic}/partitions?force=."""
        name = str(topic_in(request))
        await self._broker.delete_partitioned(name, force=flag(request, "force"))
        return done()

    async def stats(self, request: web.Request) -> web.Response:
        """GET {topic}/stats."""
        return web.json_response(self._broker.stats(str(topic_in(request))))

    async def internal_stats(self, request: web.Request) -> web.Response:
        """GET {topic}/internalStats."""
        return web.json_response(self._broker.internal_stats(str(topic_in(request))))

    async def partitioned_stats(self, request: web.Request) -> web.Response:
        """GET {topic}/partitioned-stats?perPartition=."""
        topic = topic_in(request)
        parts = self._parts(topic)
        found = {name: self._broker.stats(name) for name in parts}
        each = request.query.get("perPartition", "true").lower() == "true"
        total = sum_stats(list(found.values()))
        metadata = {"partitions": len(parts), "deleted": False}
        return web.json_response(
            {**total, "metadata": metadata, "partitions": found if each else {}}
        )

    async def unload(self, request: web.Request) -> web.Response:
        """PUT {topic}/unload."""
        await self._broker.unload_topic(str(topic_in(request)))
        return done()

    async def last_message_id(self, request: web.Request) -> web.Response:
        """GET {topic}/lastMessageId."""
        topic = topic_in(request)
        last = self._broker.store.open_topic(str(topic), create=False).last
        return web.json_response(message_id(last or Position(-1, -1), topic.partition))

    async def message_id_at(self, request: web.Request) -> web.Response:
        """GET {topic}/messageid/{time}: the first message published then or later."""
        topic = topic_in(request)
        log = self._broker.store.open_topic(str(topic), create=False)
        position = log.seek_time(path_number(request, "time"))
        return web.json_response(message_id(position, topic.partition))

    async def message(self, request: web.Request) -> web.Response:
        """GET {topic}/ledger/{ledger}/entry/{entry}."""
        topic = topic_in(request)
        position = Position(path_number(request, "ledger"), path_number(request, "entry"))
        found = self._broker.store.open_topic(str(topic), create=False).read(position, 1, 1)
        if not found or found[0].position != position:
            raise NotFound("Message not found", hint="It may have been trimmed.")
        return entry_answer(found[0])

    async def retention(self, request: web.Request) -> web.Response:
        """GET {topic}/retention?applied=."""
        name = str(topic_in(request))
        found = self._broker.store.topic_policies(name).get("retention")
        if found is None and flag(request, "applied"):
            applies = self._broker.store.retention(name)
            found = {
                "retentionTimeInMinutes": applies.minutes,
                "retentionSizeInMB": applies.megabytes,
            }
        if found is None:
            return web.Response(content_type="application/json")
        return web.json_response(found)

    async def set_retention(self, request: web.Request) -> web.Response:
        """POST {topic}/retention."""
        return await self._keep_retention(request, await read_body(request))

    async def remove_retention(self, request: web.Request) -> web.Response:
        """DELETE {topic}/retention."""
        return await self._keep_retention(request, None)

    async def _keep_retention(self, request: web.Request, value: object) -> web.Response:
        topic = topic_in(request)
        for name in self._existing_parts(topic) or [str(topic)]:
            self._broker.store.set_topic_policy(name, "retention", value)
        await self._broker.policies_changed(topic.namespace_path)
        return done()

    def _existing_parts(self, topic: TopicName) -> list[str]:
        count = self._broker.store.partitions(str(topic))
        return [str(topic.part(number)) for number in range(count)]

    def _parts(self, topic: TopicName) -> list[str]:
        parts = self._existing_parts(topic)
        if not parts:
            raise NotFound("Partitioned Topic not found", hint="It may not be partitioned.")
        return parts

    async def _count(self, request: web.Request) -> int:
        count = await read_number(request)
        if count <= 0:
            raise web.HTTPNotAcceptable(text="Number of partitions should be more than 0")
        return count


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
        name = str(topic_in(request))
        await self._broker.skip(name, request.match_info["subscription"], count)
        return done()

    async def skip_all(self, request: web.Request) -> web.Response:
        """POST {topic}/subscription/{subscription}/skip_all."""
        for name in self._each(request):
            await self._broker.skip(name, request.match_info["subscription"], None)
        return done()

    async def peek(self, request: web.Request) -> web.Response:
        """GET {topic}/subscription/{subscription}/position/{nth}."""
        topic = topic_in(request)
        nth = path_number(request, "nth")
        entry = await self._broker.peek(str(topic), request.match_info["subscription"], nth)
        return entry_answer(entry)

    async def _reset(self, request: web.Request, target: Position | int) -> None:
        for name in self._each(request):
            await self._broker.reset_cursor(name, request.match_info["subscription"], target)

    def _each(self, request: web.Request) -> list[str]:
        """Return the names of all partitions, or of the topic when it has none."""
        topic = topic_in(request)
        count = self._broker.store.partitions(str(topic))
        return [str(topic.part(number)) for number in range(count)] or [str(topic)]
