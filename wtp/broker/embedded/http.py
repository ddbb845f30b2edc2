"""The HTTP side of the broker: admin REST, /health and /metrics on one port."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from wtp import __version__
from wtp.broker.embedded.facade import Broker
from wtp.broker.embedded.restcluster import cluster_routes
from wtp.broker.embedded.restnamespaces import namespace_routes
from wtp.broker.embedded.restpolicies import policy_routes
from wtp.broker.embedded.restschemas import schema_routes
from wtp.broker.embedded.restsubscriptions import subscription_routes
from wtp.broker.embedded.resttopics import topic_routes
from wtp.errors import BrokerError, NotFound, StorageError, UsageError, WtpError

MAX_BODY_BYTES = 1024 * 1024
"""Largest request body that is read; admin bodies are far smaller."""

SHUTDOWN_S = 2.0
"""How long a request that runs may go on at the end."""

_STATUS = {"exists": 409, "in-use": 412, "refused": 412}
_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpSide:
    """Serves the admin REST of a broker.

    Args:
        broker: What it shows and changes.

    Attributes:
        app: The application; routes may be added until `start`.
    """

    def __init__(self, broker: Broker) -> None:
        self.app = build_app(broker)
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind and serve.

        Args:
            host: Address to listen on.
            port: Port; 0 takes a free one.

        Returns:
            Host and port as bound.

        Raises:
            OSError: The address cannot be bound.
        """
        self._runner = runner = web.AppRunner(
            self.app, access_log=None, shutdown_timeout=SHUTDOWN_S, handle_signals=False
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await self.close()
            raise
        bound = runner.addresses[0]
        return str(bound[0]), int(bound[1])

    async def close(self) -> None:
        """Stop serving."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


def build_app(broker: Broker) -> web.Application:
    """Return the application: admin REST under /admin/v2, /lookup/v2, /health, /metrics."""
    app = web.Application(middlewares=[_answer_errors, _guard], client_max_size=MAX_BODY_BYTES)
    app.add_routes(cluster_routes(broker))
    app.add_routes(namespace_routes(broker))
    app.add_routes(policy_routes(broker))
    app.add_routes(topic_routes(broker))
    app.add_routes(subscription_routes(broker))
    app.add_routes(schema_routes(broker))
    app.add_routes([web.get("/health", _health(broker)), web.get("/metrics", _metrics(broker))])
    return app


@web.middleware
async def _answer_errors(request: web.Request, handler: _Next) -> web.StreamResponse:
    """Turn errors into Pulsar's form: a status and `{"reason": ...}`."""
    try:
        return await handler(request)
    except WtpError as error:
        return web.json_response({"reason": _reason(error, request)}, status=status_of(error))
    except web.HTTPException as error:
        if error.status < 400 or error.content_type == "application/json":
            raise
        answer = web.json_response({"reason": error.text or error.reason}, status=error.status)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer


@web.middleware
async def _guard(request: web.Request, handler: _Next) -> web.StreamResponse:
    """Refuse what Pulsar refuses (415), and changes that a foreign web page asks for (403)."""
    method = request.method
    if not request.path.startswith(("/admin/", "/lookup/")) or method in {"GET", "HEAD"}:
        return await handler(request)
    origin = request.headers.get("Origin")
    if origin is not None and not _own_page(origin, request.host):
        raise web.HTTPForbidden(text="Cross-origin requests may not change anything.")
    wants_json = method == "PUT" or (method == "POST" and request.can_read_body)
    if wants_json and request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="HTTP 415 Unsupported Media Type")
    return await handler(request)


def _reason(error: WtpError, request: web.Request) -> str:
    """Return the reason in Pulsar's words where clients are known to look at them."""
    text = error.message.removesuffix(".")
    names = request.match_info
    topic = f"{names.get('domain')}://{names.get('tenant')}/{names.get('namespace')}/{names.get('topic')}"
    if not isinstance(error, NotFound):
        return text
    if text == "Subscription not found":
        return f"Subscription {names.get('subscription')} not found for topic {topic}"
    if text.startswith("Topic ") and text.endswith(" does not exist"):
        return text.removesuffix(" does not exist") + " not found"
    if text.startswith("Tenant "):
        return "Tenant does not exist"
    if error.code == "no-namespace" or text.startswith("Namespace not found"):
        return "Namespace does not exist"
    return text


def _own_page(origin: str, host: str) -> bool:
    """Tell whether a page was served by this host, under an address or name no one can rebind."""
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
    except ValueError:
        return False
    if parts.netloc != host:
        return False
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def status_of(error: WtpError) -> int:
    """Return the HTTP status for an error of the broker."""
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, UsageError):
        return 412
    if isinstance(error, BrokerError):
        return _STATUS.get(error.code, 500)
    return 507 if isinstance(error, StorageError) and error.code == "disk-full" else 500


def _health(broker: Broker) -> _Next:
    async def health(request: web.Request) -> web.Response:
        store = broker.store
        topics = sum(len(store.topics(n)) for t in store.tenants() for n in store.namespaces(t))
        return web.json_response(
            {
                "status": "ok",
                "version": __version__,
                "uptime_s": round(broker.uptime_s(), 3),
                "damage": list(store.damage),
                "topics": topics,
                "fsync": str(store.fsync),
            }
        )

    return health


def _metrics(broker: Broker) -> _Next:
    async def metrics(request: web.Request) -> web.Response:
        store = broker.store
        lines = []
        values = {
            **broker.counters(),
            "uptime_seconds": broker.uptime_s(),
            "damage_sentences": len(store.damage),
        }
        for name, value in values.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# TYPE wtp_broker_{name} {kind}", f"wtp_broker_{name} {value:.15g}"]
        sizes = store.sizes()
        for column, name in enumerate(("topic_entries", "topic_storage_bytes")):
            lines.append(f"# TYPE wtp_broker_{name} gauge")
            for topic, size in sizes.items():
                lines.append(f'wtp_broker_{name}{{topic="{_label(topic)}"}} {size[column]}')
        text = "\n".join([*lines, ""])
        return web.Response(
            body=text.encode(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    return metrics


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
