"""Rooms are namespaces: how a missing one is made, by whoever may."""

from __future__ import annotations

from typing import Protocol

from wtp.config.schema import RoomSettings


class Namespaces(Protocol):
    """What is used of `wtp.broker.topics.Admin`."""

    async def ensure_namespace(
        self,
        namespace: str,
        *,
        retention_minutes: int | None = None,
        retention_mb: int | None = None,
        deduplication: bool | None = None,
    ) -> bool:
        """Create a namespace with its policies when it does not exist."""
        ...


async def ensure_room(admin: Namespaces, namespace: str, rules: RoomSettings) -> bool:
    """Create a room's namespace with the profile's policies when it does not exist.

    Args:
        admin: The broker's admin API.
        namespace: `tenant/name`.
        rules: Retention and de-duplication of a new room.

    Returns:
        Whether it was created.

    Raises:
        WtpError: As `Admin.ensure_namespace`.
    """
    return await admin.ensure_namespace(
        namespace,
        retention_minutes=rules.retention_minutes,
        retention_mb=rules.retention_mb,
        deduplication=rules.deduplication,
    )
