"""REST: topics, partitions, messages."""

from __future__ import annotations

from aiohttp import web

from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.peek import entry_answer
from wtp.broker.embedded.rest import (
    done,
    flag,
    message_id,
    namespace_in,
    parts_of,
    path_number,
    read_body,
    read_number,
    read_object,
    refuse_partitioned,
    topic_in,
)
from wtp.broker.embedded.reststats import whole_internal_stats, whole_stats
from wtp.broker.embedded.statsum import sum_stats
from wtp.broker.embedded.values import EARLIEST, Position
from wtp.broker.naming import TopicName
from wtp.errors import NotFound, UsageError


def topic_routes(broker: Broker) -> list[web.RouteDef]:
    """Return the routes; fixed paths come before those with a topic's name in their place."""
    routes = TopicRoutes(broker)
    space = "/admin/v2/{domain:persistent|non-persistent}/{tenant}/{namespace}"
    topic = space + "/{topic}"
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
        web.get(f"{topic}/partitioned-internalStats", routes.partitioned_internal_stats),
        web.get(f"{topic}/examinemessage", routes.examine),
        web.put(f"{topic}/unload", routes.unload),
        web.get(f"{topic}/lastMessageId", routes.last_message_id),
        web.get(f"{topic}/messageid/{{time}}", routes.message_id_at),
        web.get(f"{topic}/ledger/{{ledger}}/entry/{{entry}}", routes.message),
        web.get(f"{topic}/retention", routes.retention),
        web.post(f"{topic}/retention", routes.set_retention),
        web.delete(f"{topic}/retention", routes.remove_retention),
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
        topic = topic_in(request)
        count = self._broker.store.partitions(str(topic.whole))
        if count and topic.partition >= count:
            raise web.HTTPPreconditionFailed(text=f"{topic.whole} has only {count} partitions")
        await self._broker.create_topic(str(topic))
        return done()

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE {topic}?force=."""
        topic = topic_in(request)
        if self._broker.store.partitions(str(topic)):
            raise web.HTTPConflict(text=f"{topic} is a partitioned topic, delete its partitions")
        await self._broker.delete_topic(str(topic), force=flag(request, "force"))
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
        topic = topic_in(request)
        if topic.partition >= 0:
            raise web.HTTPPreconditionFailed(
                text="Partitioned Topic Name should not contain '-partition-'"
            )
        count = await read_number(request)
        if count <= 0:
            raise web.HTTPNotAcceptable(text="Number of partitions should be more than 0")
        await self._broker.create_partitioned(str(topic), count)
        return done()

    async def update_partitions(self, request: web.Request) -> web.Response:
        """POST {topic}/partitions, body: a number."""
        topic, count = topic_in(request), await read_number(request)
        now = self._broker.store.partitions(str(topic))
        self._broker.store.policies(topic.namespace_path)
        if not now:
            raise web.HTTPConflict(text=f"Topic {topic} is not the partitioned topic.")
        if count < now:
            raise web.HTTPUnprocessableEntity(
                text=f"Desired partitions {count} can't be less than the current partitions {now}."
            )
        await self._broker.update_partitions(str(topic), count)
        return done()

    async def delete_partitioned(self, request: web.Request) -> web.Response:
        """DELETE {topic}/partitions?force=."""
        topic = topic_in(request)
        there = self._broker.topics(topic.namespace_path, topic.domain)
        if not self._broker.store.partitions(str(topic)) and str(topic) in there:
            raise web.HTTPConflict(text=f"{topic} is a non-partitioned topic, delete that")
        await self._broker.delete_partitioned(str(topic), force=flag(request, "force"))
        return done()

    async def stats(self, request: web.Request) -> web.Response:
        """GET {topic}/stats."""
        topic = topic_in(request)
        refuse_partitioned(self._broker, topic)
        return web.json_response(whole_stats(self._broker.stats(str(topic))))

    async def internal_stats(self, request: web.Request) -> web.Response:
        """GET {topic}/internalStats."""
        topic = topic_in(request)
        refuse_partitioned(self._broker, topic)
        return web.json_response(whole_internal_stats(self._broker.internal_stats(str(topic))))

    async def partitioned_internal_stats(self, request: web.Request) -> web.Response:
        """GET {topic}/partitioned-internalStats."""
        parts = self._parts(topic_in(request))
        found = {name: whole_internal_stats(self._broker.internal_stats(name)) for name in parts}
        metadata = {"partitions": len(parts), "deleted": False}
        return web.json_response({"metadata": metadata, "partitions": found})

    async def partitioned_stats(self, request: web.Request) -> web.Response:
        """GET {topic}/partitioned-stats?perPartition=."""
        topic = topic_in(request)
        parts = self._parts(topic)
        found = {name: whole_stats(self._broker.stats(name)) for name in parts}
        each = request.query.get("perPartition", "true").lower() == "true"
        total = sum_stats(list(found.values()))
        for key in ("deduplicationStatus", "ownerBroker"):
            total.pop(key, None)
        for key in ("backlogQuotaLimitSize", "backlogQuotaLimitTime"):
            total[key] = -1  # limits do not add up
        total["oldestBacklogMessageAgeSeconds"] = 0
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
        refuse_partitioned(self._broker, topic)
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
            raise NotFound("Message id not found", hint="It may have been trimmed.")
        return entry_answer(found[0])

    async def examine(self, request: web.Request) -> web.Response:
        """GET {topic}/examinemessage?initialPosition=earliest|latest&messagePosition=n."""
        topic = topic_in(request)
        refuse_partitioned(
            self._broker, topic, "Examine messages on a partitioned topic is not allowed"
        )
        log = self._broker.store.open_topic(str(topic), create=False)
        text = request.query.get("messagePosition", "1")
        nth = max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 19 else 1
        if request.query.get("initialPosition", "latest") == "latest":
            nth = log.entries - nth + 1
        place = log.next_position(EARLIEST)
        for ledger, entries, _ in log.ledgers():
            if 0 < nth <= entries:
                place = Position(
                    ledger, max(place.entry if place.ledger == ledger else 0, 0) + nth - 1
                )
                found = log.read(place, 1, 1)
                if found:
                    return entry_answer(found[0])
            nth -= entries
        raise NotFound("Message not found")

    async def retention(self, request: web.Request) -> web.Response:
        """GET {topic}/retention?applied=."""
        name = parts_of(self._broker, topic_in(request))[0]
        found = self._broker.store.topic_policies(name).get("retention")
        if found is None and flag(request, "applied"):
            applies = self._broker.store.retention(name)
            found = {
                "retentionTimeInMinutes": applies.minutes,
                "retentionSizeInMB": applies.megabytes,
            }
        if found is None:
            return web.Response()
        return web.json_response(found)

    async def set_retention(self, request: web.Request) -> web.Response:
        """POST {topic}/retention."""
        return await self._keep_retention(request, await read_body(request))

    async def remove_retention(self, request: web.Request) -> web.Response:
        """DELETE {topic}/retention."""
        return await self._keep_retention(request, None)

    async def _keep_retention(self, request: web.Request, value: object) -> web.Response:
        topic = topic_in(request)
        for name in parts_of(self._broker, topic):
            self._broker.store.topic_policies(name)
            try:
                self._broker.store.set_topic_policy(name, "retention", value)
            except UsageError as error:
                raise web.HTTPBadRequest(text=error.message) from error
        await self._broker.policies_changed(topic.namespace_path)
        return done()

    def _parts(self, topic: TopicName) -> list[str]:
        if not self._broker.store.partitions(str(topic)):
            raise NotFound(f"Partitioned Topic {topic} not found")
        return parts_of(self._broker, topic)
