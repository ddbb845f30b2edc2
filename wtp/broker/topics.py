"""The admin client: topics, subscriptions and namespaces of a Pulsar or of the embedded broker."""

from __future__ import annotations

from types import TracebackType
from typing import Any
from urllib.parse import quote

from wtp.broker.adminhttp import START_HINT, TIMEOUT_S, AdminHttp
from wtp.broker.adminvalues import Health, Message, Policies
from wtp.broker.naming import DOMAINS, TopicName, parse_namespace, parse_topic
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerError, BrokerUnavailable, NotFound, Refused

__all__ = ["Admin", "Health", "Message", "Policies"]


class Admin:
    """Speaks the admin REST of one broker. Close it, or use it with `async with`.

    Every verb raises NotFound (no such topic, subscription, namespace), Refused (code
    `not-allowed`), BrokerUnavailable (nothing usable answers) or BrokerError (code `exists`,
    `in-use`, `refused`, or `broker` for the rest).

    Args:
        url: `http://host:8080` or `https://...`; several hosts with commas.
        broker: Trust, certificate and token; default: none of them.
        token: Instead of `broker`, just a token.
        timeout: Longest wait for one answer, in seconds.

    Raises:
        UsageError: The URL is none of HTTP.
        ConfigError: A file of the settings cannot be used.
    """

    def __init__(
        self,
        url: str,
        broker: BrokerSettings | None = None,
        *,
        token: str = "",
        timeout: float = TIMEOUT_S,
    ) -> None:
        self._http = AdminHttp(url, broker or BrokerSettings(token=token), timeout)

    async def __aenter__(self) -> Admin:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    # Topics

    async def create_topic(self, topic: str, partitions: int = 0) -> None:
        """Create a topic.

        Args:
            topic: Its name.
            partitions: Number of partitions; 0 for a topic that is not partitioned.
        """
        path = _topic_path(topic)
        if partitions:
            await self._http.call("PUT", f"{path}/partitions", partitions)
        else:
            await self._http.call("PUT", path)

    async def ensure_topic(self, topic: str, partitions: int = 0) -> int:
        """Create a topic when it does not exist; an existing one is kept as it is.

        Args:
            topic: Its name; its namespace must exist.
            partitions: Number of partitions; 0 for a topic that is not partitioned.

        Returns:
            The number of partitions it has now.
        """
        try:
            await self.create_topic(topic, partitions)
        except BrokerError as error:
            if error.code != "exists":
                raise
            return await self.partitions(topic)
        return partitions

    async def delete_topic(self, topic: str, *, force: bool = False) -> None:
        """Delete a topic with all partitions; with `force` even while clients are connected."""
        path = _topic_path(topic)
        if await self.partitions(topic):
            path += "/partitions"
        await self._http.call("DELETE", path, query={"force": str(force).lower()})

    async def list_topics(self, namespace: str, *, each_partition: bool = False) -> list[str]:
        """Return the complete names of a namespace's topics of both domains, sorted.

        Args:
            namespace: `tenant/name`.
            each_partition: Name partitions one by one, not the topic they make up.
        """
        path = _namespace_path(namespace)
        found: set[str] = set()
        for domain in DOMAINS:
            names = await self._http.json("GET", f"/{domain}/{path}") or []
            wholes = await self._http.json("GET", f"/{domain}/{path}/partitioned") or []
            if not each_partition:
                known = set(wholes)
                parsed = [parse_topic(name) for name in names]
                names = [str(t.whole) if str(t.whole) in known else str(t) for t in parsed]
                names += wholes
            found.update(names)
        return sorted(found)

    async def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic, 0 when it is not partitioned."""
        found = await self._http.json("GET", f"{_topic_path(topic)}/partitions")
        return int(found["partitions"])

    async def stats(self, topic: str) -> dict[str, Any]:
        """Return a topic's statistics in Pulsar's key names; partitions are added up."""
        path = _topic_path(topic)
        if await self.partitions(topic):
            return dict(await self._http.json("GET", f"{path}/partitioned-stats"))
        return dict(await self._http.json("GET", f"{path}/stats"))

    async def internal_stats(self, topic: str) -> dict[str, Any]:
        """Return what lies on the disk for a topic (not a partitioned one)."""
        return dict(await self._http.json("GET", f"{_topic_path(topic)}/internalStats"))

    async def last_message_id(self, topic: str) -> tuple[int, int]:
        """Return (ledger, entry) of the newest message, (-1, -1) for none."""
        found = await self._http.json("GET", f"{_topic_path(topic)}/lastMessageId")
        return int(found["ledgerId"]), int(found["entryId"])

    # Subscriptions

    async def subscriptions(self, topic: str) -> list[str]:
        """Return the names of a topic's subscriptions, sorted."""
        return sorted(await self._http.json("GET", f"{_topic_path(topic)}/subscriptions"))

    async def create_subscription(
        self, topic: str, subscription: str, *, earliest: bool = False
    ) -> None:
        """Create a durable subscription at the end of a topic, or at its beginning."""
        at = {"ledgerId": -1, "entryId": -1} if earliest else _LATEST
        await self._http.call("PUT", _subscription_path(topic, subscription), at)

    async def delete_subscription(
        self, topic: str, subscription: str, *, force: bool = False
    ) -> None:
        """Delete a subscription; with `force` even while consumers are connected."""
        path = _subscription_path(topic, subscription)
        await self._http.call("DELETE", path, query={"force": str(force).lower()})

    async def reset_cursor(
        self, topic: str, subscription: str, target: int | tuple[int, int]
    ) -> None:
        """Move a subscription.

        Args:
            topic: The topic.
            subscription: Its name.
            target: Publish time in Unix ms, or (ledger, entry) of the message that comes next.
        """
        path = f"{_subscription_path(topic, subscription)}/resetcursor"
        if isinstance(target, int):
            await self._http.call("POST", f"{path}/{target}", {})
        else:
            await self._http.call("POST", path, {"ledgerId": target[0], "entryId": target[1]})

    async def skip(self, topic: str, subscription: str, count: int | None = None) -> None:
        """Acknowledge the next `count` messages of a backlog, or all of them."""
        step = "skip_all" if count is None else f"skip/{count}"
        await self._http.call("POST", f"{_subscription_path(topic, subscription)}/{step}", {})

    async def peek(self, topic: str, subscription: str, nth: int = 1) -> Message:
        """Return the nth message (from 1) of a backlog without taking it; NotFound at its end."""
        path = f"{_subscription_path(topic, subscription)}/position/{nth}"
        payload, headers = await self._http.call("GET", path)
        return Message(payload, {key.lower(): value for key, value in headers.items()})

    # Namespaces

    async def namespaces(self, tenant: str = "public") -> list[str]:
        """Return the namespaces (`tenant/name`) of a tenant, sorted."""
        return sorted(await self._http.json("GET", f"/namespaces/{quote(tenant, safe='')}"))

    async def ensure_namespace(
        self,
        namespace: str,
        *,
        retention_minutes: int | None = None,
        retention_mb: int | None = None,
        deduplication: bool | None = None,
    ) -> bool:
        """Create a namespace with its policies when it does not exist; an existing one is kept.

        A tenant that is missing is created, too, which takes the rights of a super-user.

        Args:
            namespace: `tenant/name`.
            retention_minutes: How long acknowledged data stays; None leaves it to the broker.
            retention_mb: How much of it stays per topic, in MiB; None sets no limit.
            deduplication: Whether to drop repeated sequence ids; None leaves it to the broker.

        Returns:
            Whether it was created.
        """
        path = f"/namespaces/{_namespace_path(namespace)}"
        body: dict[str, Any] = {}
        if retention_minutes is not None:
            body["retention_policies"] = _retention(retention_minutes, retention_mb)
        if deduplication is not None:
            body["deduplicationEnabled"] = deduplication
        try:
            await self._http.call("GET", path)
        except NotFound:
            pass
        else:
            return False
        try:
            return await self._put(path, body)
        except NotFound:
            await self._create_tenant(parse_namespace(namespace)[0])
            return await self._put(path, body)

    async def _create_tenant(self, tenant: str) -> None:
        """Create a tenant that may use all clusters; one that exists is kept."""
        clusters = await self._http.json("GET", "/clusters")
        await self._put(f"/tenants/{quote(tenant, safe='')}", {"allowedClusters": clusters})

    async def _put(self, path: str, body: object) -> bool:
        """Create something; tells whether it was not there before."""
        try:
            await self._http.call("PUT", path, body)
        except BrokerError as error:
            if error.code == "exists":
                return False
            raise
        return True

    async def delete_namespace(self, namespace: str, *, force: bool = False) -> None:
        """Delete a namespace; with `force` together with its topics."""
        path = f"/namespaces/{_namespace_path(namespace)}"
        await self._http.call("DELETE", path, query={"force": str(force).lower()})

    async def policies(self, namespace: str) -> Policies:
        """Return what a namespace promises."""
        path = f"/namespaces/{_namespace_path(namespace)}"
        retention = await self._http.json("GET", f"{path}/retention")
        deduplication = await self._http.json("GET", f"{path}/deduplication")
        own = {"retention": retention, "deduplication": deduplication}
        defaults = {} if None not in own.values() else await self._defaults()
        if retention is None:
            retention = _retention(
                int(defaults.get("defaultRetentionTimeInMinutes", 0)),
                int(defaults.get("defaultRetentionSizeInMB", 0)),
            )
        if deduplication is None:
            deduplication = defaults.get("brokerDeduplicationEnabled") == "true"
        return Policies(
            int(retention["retentionTimeInMinutes"]),
            int(retention["retentionSizeInMB"]),
            bool(deduplication),
            frozenset(name for name, value in own.items() if value is not None),
        )

    async def _defaults(self) -> dict[str, str]:
        """The broker's configuration; empty (Pulsar's own defaults) when it is not told."""
        try:
            found = await self._http.json("GET", "/brokers/configuration/runtime")
        except (BrokerError, Refused) as error:
            if isinstance(error, BrokerUnavailable):
                raise
            return {}
        return dict(found or {})

    async def topic_retention(self, topic: str) -> tuple[int, int] | None:
        """Return a topic's own retention as minutes and MiB; None when its namespace's holds."""
        own = await self._http.json("GET", f"{_topic_path(topic)}/retention")
        return (int(own["retentionTimeInMinutes"]), int(own["retentionSizeInMB"])) if own else None

    async def set_retention(self, target: str, minutes: int, megabytes: int = -1) -> None:
        """Set how long acknowledged data stays.

        Args:
            target: A namespace (`tenant/name`), or a topic (`persistent://...`).
            minutes: Age; 0 together with `megabytes` 0 for not at all, -1 for ever.
            megabytes: Size per topic in MiB; -1 for any.
        """
        path = _topic_path(target) if "://" in target else f"/namespaces/{_namespace_path(target)}"
        await self._http.call("POST", f"{path}/retention", _retention(minutes, megabytes))

    async def set_deduplication(self, namespace: str, on: bool) -> None:
        """Switch de-duplication of a namespace on or off."""
        await self._http.call("POST", f"/namespaces/{_namespace_path(namespace)}/deduplication", on)

    async def health(self) -> Health:
        """Ask whether the broker works.

        Raises:
            BrokerUnavailable: Nothing answers, or what answers is no Pulsar.
        """
        try:
            said, _ = await self._http.call("GET", "/brokers/health")
            version, _ = await self._http.call("GET", "/brokers/version")
        except NotFound as error:
            raise BrokerUnavailable(
                f"{self._http.url} answers, but is no Pulsar.", hint=START_HINT
            ) from error
        text = version.decode(errors="replace").strip()
        details = {}
        if text.startswith("wtp-"):
            details = await self._http.json("GET", "/health", base="")
        healthy = said.strip().lower() == b"ok"
        return Health(healthy, text.removeprefix("wtp-"), bool(details), details)


_LATEST = {"ledgerId": 2**63 - 1, "entryId": 2**63 - 1}


def _retention(minutes: int, megabytes: int | None) -> dict[str, int]:
    size = -1 if megabytes is None else megabytes
    return {"retentionTimeInMinutes": minutes, "retentionSizeInMB": size}


def _topic_path(topic: str) -> str:
    name: TopicName = parse_topic(topic)
    parts = (name.domain, name.tenant, name.namespace, name.local)
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _namespace_path(namespace: str) -> str:
    return "/".join(quote(part, safe="") for part in parse_namespace(namespace))


def _subscription_path(topic: str, subscription: str) -> str:
    return f"{_topic_path(topic)}/subscription/{quote(subscription, safe='')}"
