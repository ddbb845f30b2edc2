"""REST: the cluster, the broker itself, tenants, and topic lookup."""

from __future__ import annotations

from aiohttp import web

from wtp import __version__
from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.registry import DEFAULT_RETENTION
from wtp.broker.embedded.rest import done, read_object, topic_in
from wtp.errors import NotFound

CLUSTER = "standalone"
"""Name of the only cluster, as in a Pulsar standalone."""


def address(bound: tuple[str, int]) -> str:
    """Return host and port as in a URL."""
    host, port = bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cluster_routes(broker: Broker) -> list[web.RouteDef]:
    """Return the routes."""
    routes = ClusterRoutes(broker)
    base = "/admin/v2"
    return [
        web.get(f"{base}/clusters", routes.clusters),
        web.get(f"{base}/clusters/{{cluster}}", routes.cluster),
        web.get(f"{base}/brokers/health", routes.health),
        web.get(f"{base}/brokers/ready", routes.health),
        web.get(f"{base}/brokers/version", routes.version),
        web.get(f"{base}/brokers/configuration/runtime", routes.configuration),
        web.get(f"{base}/brokers/configuration/values", routes.overrides),
        web.get(f"{base}/brokers/configuration", routes.changeable),
        web.get(f"{base}/brokers/leaderBroker", routes.leader),
        web.get(f"{base}/brokers", routes.brokers),
        web.get(f"{base}/brokers/{{cluster}}", routes.brokers),
        web.get(f"{base}/tenants", routes.tenants),
        web.get(f"{base}/tenants/{{tenant}}", routes.tenant),
        web.put(f"{base}/tenants/{{tenant}}", routes.create_tenant),
        web.post(f"{base}/tenants/{{tenant}}", routes.change_tenant),
        web.delete(f"{base}/tenants/{{tenant}}", routes.delete_tenant),
        web.get(
            "/lookup/v2/topic/{domain:persistent|non-persistent}/{tenant}/{namespace}/{topic}",
            routes.lookup,
        ),
        web.get(
            "/lookup/v2/topic/{domain:persistent|non-persistent}/{tenant}/{namespace}/{topic}/bundle",
            routes.bundle,
        ),
    ]


class ClusterRoutes:
    """What answers for the cluster, the broker and tenants."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def clusters(self, request: web.Request) -> web.Response:
        """GET clusters."""
        return web.json_response([CLUSTER])

    async def cluster(self, request: web.Request) -> web.Response:
        """GET clusters/{cluster}."""
        self._check_cluster(request)
        return web.json_response(
            {
                "serviceUrl": f"http://{address(self._broker.http_address())}",
                "brokerServiceUrl": f"pulsar://{address(self._broker.binary_address())}",
                "brokerClientTlsEnabled": False,
                "tlsAllowInsecureConnection": False,
                "brokerClientTlsEnabledWithKeyStore": False,
            }
        )

    async def health(self, request: web.Request) -> web.Response:
        """GET brokers/health."""
        return web.Response(text="ok", content_type="application/json")

    async def version(self, request: web.Request) -> web.Response:
        """GET brokers/version."""
        return web.Response(text=f"wtp-{__version__}")

    async def brokers(self, request: web.Request) -> web.Response:
        """GET brokers/{cluster}."""
        return web.json_response([address(self._broker.http_address())])

    async def configuration(self, request: web.Request) -> web.Response:
        """GET brokers/configuration/runtime: the defaults that clients ask for."""
        return web.json_response(
            {
                "clusterName": CLUSTER,
                "brokerDeduplicationEnabled": "true",
                "brokerDeleteInactiveTopicsEnabled": "false",
                "defaultRetentionTimeInMinutes": str(DEFAULT_RETENTION.minutes),
                "defaultRetentionSizeInMB": str(DEFAULT_RETENTION.megabytes),
            }
        )

    async def overrides(self, request: web.Request) -> web.Response:
        """GET brokers/configuration/values: what was changed while running, never anything."""
        return web.json_response({})

    async def changeable(self, request: web.Request) -> web.Response:
        """GET brokers/configuration: names of what can be changed while running, none."""
        return web.json_response([])

    async def leader(self, request: web.Request) -> web.Response:
        """GET brokers/leaderBroker."""
        here = address(self._broker.http_address())
        return web.json_response({"serviceUrl": f"http://{here}", "brokerId": here})

    async def tenants(self, request: web.Request) -> web.Response:
        """GET tenants."""
        return web.json_response(self._broker.store.tenants())

    async def tenant(self, request: web.Request) -> web.Response:
        """GET tenants/{tenant}."""
        self._broker.store.namespaces(request.match_info["tenant"])
        return web.json_response({"adminRoles": [], "allowedClusters": [CLUSTER]})

    async def create_tenant(self, request: web.Request) -> web.Response:
        """PUT tenants/{tenant}."""
        await self._check_info(request)
        self._broker.store.create_tenant(request.match_info["tenant"])
        return done()

    async def change_tenant(self, request: web.Request) -> web.Response:
        """POST tenants/{tenant}: there is nothing to change, roles mean nothing here."""
        self._broker.store.namespaces(request.match_info["tenant"])
        await self._check_info(request)
        return done()

    async def _check_info(self, request: web.Request) -> None:
        info = await read_object(request)
        clusters = info.get("allowedClusters")
        if not info:
            raise web.HTTPPreconditionFailed(text="TenantInfo is null")
        if not isinstance(clusters, list) or not clusters:
            raise web.HTTPPreconditionFailed(text="Clusters can not be empty")
        if set(clusters) != {CLUSTER}:
            raise web.HTTPPreconditionFailed(text="Clusters do not exist")

    async def delete_tenant(self, request: web.Request) -> web.Response:
        """DELETE tenants/{tenant}."""
        self._broker.store.delete_tenant(request.match_info["tenant"])
        return done()

    async def lookup(self, request: web.Request) -> web.Response:
        """GET lookup/v2/topic/...: where the binary protocol of a topic is served."""
        topic = topic_in(request)
        self._broker.store.policies(topic.namespace_path)
        binary = f"pulsar://{address(self._broker.binary_address())}"
        return web.json_response(
            {
                "brokerUrl": binary,
                "nativeUrl": binary,
                "brokerUrlSsl": "",
                "httpUrl": f"http://{address(self._broker.http_address())}",
            }
        )

    async def bundle(self, request: web.Request) -> web.Response:
        """GET lookup/v2/topic/.../bundle: the one that there is."""
        self._broker.store.policies(topic_in(request).namespace_path)
        return web.Response(text="0x00000000_0xffffffff", content_type="application/json")

    def _check_cluster(self, request: web.Request) -> None:
        name = request.match_info["cluster"]
        if name != CLUSTER:
            raise NotFound(f"Cluster {name} does not exist.", hint=f"The only one is {CLUSTER}.")
