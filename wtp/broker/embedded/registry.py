"""Tenants, namespaces with their policies, and partition counts: one small file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from wtp.broker.embedded.files import read_json, write_json
from wtp.broker.embedded.values import Retention
from wtp.broker.naming import parse_namespace, parse_topic
from wtp.errors import BrokerError, NotFound, UsageError

DEFAULT_RETENTION = Retention(minutes=1440, megabytes=1024)
"""Applies where no policy is set: a day and 1 GiB per topic, as wtp sets for the rooms it makes."""

FIRST_POLICIES: Mapping[str, Any] = {
    "retention_policies": {"retentionTimeInMinutes": 1440, "retentionSizeInMB": 1024},
    "deduplicationEnabled": True,
}
"""Policies of `public/default`, which exists from the start."""


class Registry:
    """What exists beside topics. Each change is on the disk when the call returns.

    Args:
        path: The file.
        sync: Force changes to the disk.
        report: Told about damage.
        names: Gives the names of all stored topics: when both copies of the file are damaged,
            namespaces and partition counts are made up from them.
    """

    def __init__(
        self,
        path: Path,
        *,
        sync: bool,
        report: Callable[[str], None],
        names: Iterable[str],
    ) -> None:
        self._path = path
        self._sync = sync
        found = read_json(path, report)
        self._tenants: set[str] = {"public"}
        self._namespaces: dict[str, dict[str, Any]] = {}
        self._partitions: dict[str, int] = {}
        if isinstance(found, dict):
            self._tenants |= set(found["tenants"])
            self._namespaces = found["namespaces"]
            self._partitions = found["partitions"]
        else:
            self._namespaces["public/default"] = dict(FIRST_POLICIES)
        for name in names:
            self._make_up(name)
        if found is None:
            self._write()

    def _make_up(self, name: str) -> None:
        topic = parse_topic(name)
        if topic.namespace_path in self._namespaces and topic.partition < 0:
            return
        self._tenants.add(topic.tenant)
        self._namespaces.setdefault(topic.namespace_path, {})
        if topic.partition >= 0:
            whole = str(topic.whole)
            self._partitions[whole] = max(self._partitions.get(whole, 0), topic.partition + 1)

    def _write(self) -> None:
        value = {
            "tenants": sorted(self._tenants),
            "namespaces": self._namespaces,
            "partitions": self._partitions,
        }
        write_json(self._path, value, sync=self._sync)

    def tenants(self) -> list[str]:
        """Return the tenants, sorted."""
        return sorted(self._tenants)

    def create_tenant(self, tenant: str) -> None:
        """Create a tenant; BrokerError code "exists"."""
        parse_namespace(f"{tenant}/x")
        if tenant in self._tenants:
            raise BrokerError(f"Tenant {tenant} already exists.", code="exists")
        self._tenants.add(tenant)
        self._write()

    def delete_tenant(self, tenant: str) -> None:
        """Delete an empty tenant; NotFound, BrokerError code "exists" with namespaces left."""
        if self.namespaces(tenant):
            raise BrokerError(
                f"Tenant {tenant} still has namespaces.", hint="Delete them first.", code="exists"
            )
        self._tenants.discard(tenant)
        self._write()

    def has(self, namespace: str) -> bool:
        """Tell whether a namespace exists."""
        return namespace in self._namespaces

    def check(self, namespace: str) -> dict[str, Any]:
        """Return the policies of a namespace as they are kept; NotFound."""
        found = self._namespaces.get(namespace)
        if found is None:
            raise NotFound(
                f"Namespace {namespace} does not exist.",
                hint=f"It can be created with PUT /admin/v2/namespaces/{namespace}.",
                code="no-namespace",
            )
        return found

    def namespaces(self, tenant: str) -> list[str]:
        """Return the namespaces of a tenant, sorted; NotFound."""
        if tenant not in self._tenants:
            raise NotFound(f"Tenant {tenant} does not exist.", hint="Create it first.")
        return sorted(name for name in self._namespaces if name.startswith(f"{tenant}/"))

    def create(self, namespace: str, policies: Mapping[str, Any] | None) -> None:
        """Create a namespace; NotFound (tenant), BrokerError code "exists"."""
        tenant, _ = parse_namespace(namespace)
        self.namespaces(tenant)
        if namespace in self._namespaces:
            raise BrokerError(f"Namespace {namespace} already exists.", code="exists")
        for name, value in (policies or {}).items():
            check_policy(name, value)
        self._namespaces[namespace] = {k: v for k, v in (policies or {}).items() if v is not None}
        self._write()

    def delete(self, namespace: str) -> None:
        """Delete a namespace with its partition counts; NotFound."""
        self.check(namespace)
        del self._namespaces[namespace]
        self._partitions = {
            name: count
            for name, count in self._partitions.items()
            if parse_topic(name).namespace_path != namespace
        }
        self._write()

    def set_policy(self, namespace: str, name: str, value: object) -> None:
        """Set one policy, or remove it with None; NotFound, UsageError for a wrong value."""
        policies = self.check(namespace)
        check_policy(name, value)
        if value is None:
            policies.pop(name, None)
        else:
            policies[name] = value
        self._write()

    def partitions(self, name: str) -> int:
        """Return the number of partitions of a topic, 0 for not partitioned."""
        return self._partitions.get(name, 0)

    def set_partitions(self, name: str, partitions: int) -> None:
        """Set the number of partitions of a topic; 0 removes it; NotFound (namespace)."""
        self.check(parse_topic(name).namespace_path)
        if partitions:
            self._partitions[name] = partitions
        else:
            self._partitions.pop(name, None)
        self._write()

    def partitioned(self, namespace: str, domain: str) -> list[str]:
        """Return the partitioned topics of a namespace and domain, sorted; NotFound."""
        self.check(namespace)
        prefix = f"{domain}://{namespace}/"
        return sorted(name for name in self._partitions if name.startswith(prefix))


def check_policy(name: str, value: object) -> None:
    """Check the policies that this broker acts on; others are only kept.

    Raises:
        UsageError: The value is of another type or out of range.
    """
    if value is None:
        return
    if name in {"retention_policies", "retention"}:
        read_retention(value)
    elif name == "deduplicationEnabled" and not isinstance(value, bool):
        raise UsageError("deduplicationEnabled must be true or false.", hint="Send one of them.")


def read_retention(value: object) -> Retention:
    """Read a retention policy in Pulsar's form.

    Raises:
        UsageError: It is none. One limit may be 0 only together with the other (Pulsar's rule).
    """
    fields = value if isinstance(value, dict) else {}
    minutes = fields.get("retentionTimeInMinutes", 0)
    megabytes = fields.get("retentionSizeInMB", 0)
    whole = isinstance(value, dict) and type(minutes) is int and type(megabytes) is int
    if not whole or min(minutes, megabytes) < -1:
        raise UsageError(
            "Invalid retention policy.",
            hint='Send {"retentionTimeInMinutes": N, "retentionSizeInMB": N}; -1 for no limit.',
        )
    if (minutes == 0) != (megabytes == 0):
        raise UsageError(
            "Invalid retention policy: one limit is 0 and the other is not.",
            hint="Use -1 for the limit that should not apply.",
        )
    return Retention(minutes, megabytes)
