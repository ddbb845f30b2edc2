"""What the shell completes by asking the broker; it never waits longer than 0.3 s for it."""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request
from typing import Any

import typer

PATIENCE_S = 0.3
"""Seconds a completion may take in all; a shell that hangs is worse than no proposal."""

SYSTEM = {"functions"}
"""Namespaces of Pulsar itself, never proposed."""


def admin_url(ctx: typer.Context) -> str:
    """The admin URL of a half-typed command line: its flag, else the environment, else default."""
    given: Any = ctx.meta.get("wtp.values", {}).get("broker.admin")
    return str(given or os.environ.get("WTP_ADMIN") or "http://127.0.0.1:8080").rstrip("/")


def room_name(ctx: typer.Context) -> str:
    """The room of a half-typed command line."""
    given: Any = ctx.meta.get("wtp.values", {}).get("rooms.room")
    return str(given or os.environ.get("WTP_ROOM") or "default")


def ask(url: str, timeout: float = PATIENCE_S) -> list[str]:
    """A list of strings from the admin API; empty when there is no answer in time."""
    try:
        if not url.startswith(("http://", "https://")):
            return []
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - scheme checked
            names = json.load(answer)
    except (OSError, ValueError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def rooms(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of rooms."""
    names = [name.split("/")[-1] for name in ask(f"{admin_url(ctx)}/admin/v2/namespaces/public")]
    return [name for name in names if name.startswith(incomplete) and name not in SYSTEM]


def topics(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of topics: short ones in the room at hand."""
    room = urllib.parse.quote(room_name(ctx), safe="")
    found = ask(f"{admin_url(ctx)}/admin/v2/persistent/public/{room}")
    names = sorted({name.rsplit("/", 1)[-1].split("-partition-")[0] for name in found})
    return [name for name in names if name.startswith(incomplete)]
