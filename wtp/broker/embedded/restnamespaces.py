"""REST: namespaces and their policies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.rest import done, flag, namespace_in, read_body, read_object
from wtp.broker.embedded.restcluster import CLUSTER
from wtp.broker.naming import DOMAINS
from wtp.errors import UsageError

_Route = Callable[[web.Request], Awaitable[web.Response]]

POLICIES = {"retention": "retention_policies", "deduplication": "deduplicationEnabled"}
"""Policies with a path of their own, and their keys."""


FIXED = {
    "auth_policies": {
        "namespace_auth": {},
        "destination_auth": {},
        "subscription_auth_roles": {},
    },
    "replication_clusters": [CLUSTER],
    "allowed_clusters": [],
    "backlog_quota_map": {},
    "clusterDispatchRate": {},
    "topicDispatchRate": {},
    "subscriptionDispatchRate": {},
    "replicatorDispatchRate": {},
    "clusterSubscribeRate": {},
    "publishMaxMessageRate": {},
    "latency_stats_sample_rate": {},
    "deleted": False,
    "encryption_required": False,
    "subscription_auth_mode": "None",
    "offload_threshold": -1,
    "offload_threshold_in_seconds": -1,
    "schema_compatibility_strategy": "UNDEFINED",
    "is_allow_auto_update_schema": True,
    "schema_validation_enforced": False,
    "subscription_types_enabled": [],
    "properties": {},
    "migrated": False,
}
"""What a namespace of this broker always says of itself, with Pulsar's keys."""

BUNDLES = {"boundaries": ["0x00000000", "0xffffffff"], "numBundles": 1}


def namespace_routes(broker: Broker) -> list[web.RouteDef]:
    """Return the routes."""
    routes = NamespaceRoutes(broker)
    base = "/admin/v2/namespaces/{tenant}/{namespace}"
    found = [
        web.get("/admin/v2/namespaces/{tenant}", routes.namespaces),
        web.get(base, routes.policies),
        web.put(base, routes.create),
        web.delete(base, routes.delete),
        web.get(f"{base}/topics", routes.topics),
        web.get(f"{base}/bundles", routes.bundles),
    ]
    for path, key in POLICIES.items():
        found += [
            web.get(f"{base}/{path}", routes.get_policy(key)),
            web.post(f"{base}/{path}", routes.set_policy(key)),
            web.delete(f"{base}/{path}", routes.remove_policy(key)),
        ]
    return found


class NamespaceRoutes:
    """What answers for namespaces."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def namespaces(self, request: web.Request) -> web.Response:
        """GET namespaces/{tenant}."""
        return web.json_response(self._broker.store.namespaces(request.match_info["tenant"]))

    async def policies(self, request: web.Request) -> web.Response:
        """GET namespaces/{tenant}/{namespace}."""
        policies = self._broker.store.policies(namespace_in(request))
        shown = {key: value for key, value in policies.items() if not key.startswith("kept.")}
        return web.json_response({**FIXED, "bundles": BUNDLES, **shown})

    async def bundles(self, request: web.Request) -> web.Response:
        """GET namespaces/{tenant}/{namespace}/bundles: one, since there is one broker."""
        self._broker.store.policies(namespace_in(request))
        return web.json_response(BUNDLES)

    async def create(self, request: web.Request) -> web.Response:
        """PUT namespaces/{tenant}/{namespace}."""
        self._broker.store.create_namespace(namespace_in(request), await read_object(request))
        return done()

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE namespaces/{tenant}/{namespace}."""
        namespace = namespace_in(request)
        await self._broker.delete_namespace(namespace, force=flag(request, "force"))
        return done()

    async def topics(self, request: web.Request) -> web.Response:
        """GET namespaces/{tenant}/{namespace}/topics?mode=ALL|PERSISTENT|NON_PERSISTENT."""
        namespace = namespace_in(request)
        mode = request.query.get("mode", "ALL").lower().replace("_", "-")
        domains = [mode] if mode in DOMAINS else DOMAINS
        return web.json_response(
            [name for domain in domains for name in self._broker.topics(namespace, domain)]
        )

    def get_policy(self, key: str) -> _Route:
        """GET of one policy; an unset one is an empty body."""

        async def get(request: web.Request) -> web.Response:
            found = self._broker.store.policies(namespace_in(request)).get(key)
            if found is None:
                return web.Response()
            return web.json_response(found)

        return get

    def set_policy(self, key: str) -> _Route:
        """POST of one policy."""

        async def set_one(request: web.Request) -> web.Response:
            namespace = namespace_in(request)
            self._broker.store.policies(namespace)
            try:
                self._broker.store.set_policy(namespace, key, await read_body(request))
            except UsageError as error:
                raise web.HTTPBadRequest(text=error.message) from error
            await self._broker.policies_changed(namespace)
            return done()

        return set_one

    def remove_policy(self, key: str) -> _Route:
        """DELETE of one policy: the broker's default applies again."""

        async def remove(request: web.Request) -> web.Response:
            namespace = namespace_in(request)
            self._broker.store.set_policy(namespace, key, None)
            await self._broker.policies_changed(namespace)
            return done()

        return remove
