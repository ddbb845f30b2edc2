"""REST: policies of namespaces and topics that are kept and shown, but change nothing here.

Tools set them as a matter of course (Pulsar's own clients, Terraform, dashboards), so refusing them
would stop those; what this broker does act on is retention (both) and de-duplication (namespaces).
Paths, types, defaults and answers are those of Pulsar 4.0.7.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.rest import done, flag, namespace_in, parts_of, read_body, topic_in

_Route = Callable[[web.Request], Awaitable[web.Response]]

_QUOTA = {"limit": -1, "limitSize": -1, "limitTime": -1, "policy": "producer_request_hold"}


@dataclass(frozen=True, slots=True)
class Kept:
    """One policy.

    Attributes:
        path: Last part of its path.
        kind: Type of its value.
        applied: What applies when nothing is set.
        namespace: Whether namespaces have it.
        topic: Whether topics have it; `topic_path` when it is called otherwise there.
        topic_path: See there.
        settable: Whether namespaces take it by POST (some want PUT).
    """

    path: str
    kind: type
    applied: Any
    namespace: bool = True
    topic: bool = True
    topic_path: str = ""
    settable: bool = True


KEPT = (
    Kept("messageTTL", int, 0),
    Kept("maxProducersPerTopic", int, 0, topic_path="maxProducers"),
    Kept("maxConsumersPerTopic", int, 0, topic_path="maxConsumers"),
    Kept("compactionThreshold", int, 0, settable=False),
    Kept("subscriptionExpirationTime", int, 0, topic=False),
    Kept("deduplicationEnabled", bool, True, namespace=False),
    Kept(
        "persistence",
        dict,
        {
            "bookkeeperEnsemble": 1,
            "bookkeeperWriteQuorum": 1,
            "bookkeeperAckQuorum": 1,
            "managedLedgerMaxMarkDeleteRate": 1.0,
        },
    ),
    Kept("autoTopicCreation", dict, None, topic=False),
    Kept("autoSubscriptionCreation", dict, None, topic=False),
    Kept("inactiveTopicPolicies", dict, None, topic=False),
)


def policy_routes(broker: Broker) -> list[web.RouteDef]:
    """Return the routes of all kept policies, of backlog quotas and of permissions."""
    space = "/admin/v2/namespaces/{tenant}/{namespace}"
    topic = "/admin/v2/{domain:persistent|non-persistent}/{tenant}/{namespace}/{topic}"
    found: list[web.RouteDef] = []
    for one in KEPT:
        if one.namespace:
            found += _three(f"{space}/{one.path}", Values(of_namespace(broker), one), one.settable)
        if one.topic:
            path = one.topic_path or one.path
            found += _three(f"{topic}/{path}", Values(of_topic(broker), one), True)
    for base, place in ((space, of_namespace(broker)), (topic, of_topic(broker))):
        quotas = Quotas(place)
        grants = Grants(place)
        found += [
            web.get(f"{base}/backlogQuotaMap", quotas.get),
            web.post(f"{base}/backlogQuota", quotas.set),
            web.delete(f"{base}/backlogQuota", quotas.remove),
            web.get(f"{base}/permissions", grants.get),
            web.post(f"{base}/permissions/{{role}}", grants.grant),
            web.delete(f"{base}/permissions/{{role}}", grants.revoke),
        ]
    return found


def _three(path: str, values: Values, settable: bool) -> list[web.RouteDef]:
    change = web.post if settable else web.put
    return [
        web.get(path, values.get), change(path, values.set), web.delete(path, values.remove)
    ]  # fmt: skip


class Place:
    """Where policies lie: read and written by key."""

    def __init__(
        self,
        read: Callable[[web.Request], Mapping[str, Any]],
        write: Callable[[web.Request, str, object], None],
    ) -> None:
        self.read = read
        self.write = write


def of_namespace(broker: Broker) -> Place:
    """Policies of the namespace that the path names."""

    def read(request: web.Request) -> Mapping[str, Any]:
        return broker.store.policies(namespace_in(request))

    def write(request: web.Request, key: str, value: object) -> None:
        broker.store.set_policy(namespace_in(request), key, value)

    return Place(read, write)


def of_topic(broker: Broker) -> Place:
    """Policies of the topic that the path names; a partitioned one's lie in each partition."""

    def read(request: web.Request) -> Mapping[str, Any]:
        return broker.store.topic_policies(parts_of(broker, topic_in(request))[0])

    def write(request: web.Request, key: str, value: object) -> None:
        for name in parts_of(broker, topic_in(request)):
            broker.store.set_topic_policy(name, key, value)

    return Place(read, write)


class Values:
    """GET, POST and DELETE of one policy."""

    def __init__(self, place: Place, policy: Kept) -> None:
        self._place, self._policy = place, policy
        # Apart from what the broker acts on: `deduplicationEnabled` of a topic must not be that.
        self._key = f"kept.{policy.path}"

    async def get(self, request: web.Request) -> web.Response:
        """The value; an unset one is an empty body, or what applies with ?applied=true."""
        found = self._place.read(request).get(self._key)
        if found is None and flag(request, "applied"):
            found = self._policy.applied
        return web.Response() if found is None else web.json_response(found)

    async def set(self, request: web.Request) -> web.Response:
        """Set it; a number may stand in the query (`?messageTTL=60`), as Pulsar has it."""
        self._place.read(request)
        given = request.query.get(self._policy.path)
        value = await read_body(request) if given is None else _number(given)
        if type(value) is not self._policy.kind:
            raise web.HTTPBadRequest(text=f"{self._policy.path} has another type.")
        if isinstance(value, int) and value < 0:
            raise web.HTTPPreconditionFailed(text=f"{self._policy.path} must be 0 or more")
        if self._policy.path == "persistence":
            _check_quorums(value)
        self._place.write(request, self._key, value)
        return done()

    async def remove(self, request: web.Request) -> web.Response:
        """Set nothing any more."""
        self._place.write(request, self._key, None)
        return done()


def _number(text: str) -> int:
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 19:
        raise web.HTTPNotFound(text="HTTP 404 Not Found")
    return int(text)


def _check_quorums(value: Any) -> None:
    counts = [value.get(f"bookkeeper{name}") for name in ("Ensemble", "WriteQuorum", "AckQuorum")]
    numbers = [count for count in counts if type(count) is int]
    if len(numbers) != len(counts) or numbers != sorted(numbers, reverse=True):
        raise web.HTTPBadRequest(
            text="Bookkeeper Ensemble ({}) >= WriteQuorum ({}) >= AckQuorum ({})".format(*counts)
        )


class Quotas:
    """Backlog quotas, by type."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def get(self, request: web.Request) -> web.Response:
        """All of them."""
        found = self._place.read(request).get("kept.backlogQuota")
        if not found and flag(request, "applied"):
            found = {"destination_storage": _QUOTA, "message_age": _QUOTA}
        return web.json_response(found or {})

    async def set(self, request: web.Request) -> web.Response:
        """Set one."""
        found = dict(self._place.read(request).get("kept.backlogQuota") or {})
        value = await read_body(request)
        if not isinstance(value, dict):
            raise web.HTTPBadRequest(text="A backlog quota is a JSON object.")
        size = value.get("limitSize", value.get("limit", -1))
        found[_type(request)] = {**_QUOTA, **value, "limit": size, "limitSize": size}
        self._place.write(request, "kept.backlogQuota", found)
        return done()

    async def remove(self, request: web.Request) -> web.Response:
        """Remove one."""
        found = dict(self._place.read(request).get("kept.backlogQuota") or {})
        found.pop(_type(request), None)
        self._place.write(request, "kept.backlogQuota", found or None)
        return done()


def _type(request: web.Request) -> str:
    return request.query.get("backlogQuotaType", "destination_storage")


class Grants:
    """Permissions: this broker asks nobody who they are, so they are kept for the record."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def get(self, request: web.Request) -> web.Response:
        """Actions by role."""
        return web.json_response(self._place.read(request).get("kept.permissions") or {})

    async def grant(self, request: web.Request) -> web.Response:
        """Give a role actions."""
        found = dict(self._place.read(request).get("kept.permissions") or {})
        actions = await read_body(request)
        if not isinstance(actions, list) or not all(isinstance(one, str) for one in actions):
            raise web.HTTPBadRequest(text="Send a list of actions.")
        found[request.match_info["role"]] = actions
        self._place.write(request, "kept.permissions", found)
        return done()

    async def revoke(self, request: web.Request) -> web.Response:
        """Take all actions from a role."""
        found = dict(self._place.read(request).get("kept.permissions") or {})
        found.pop(request.match_info["role"], None)
        self._place.write(request, "kept.permissions", found or None)
        return done()
