"""What the shell completes by asking the broker; it never waits longer than 0.3 s for it."""

from __future__ import annotations

import http.client
import json
import os
import threading
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
    """A list of strings from the admin API; empty when there is no whole answer in time."""
    found: list[str] = []

    def fetch() -> None:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - see below
                names = json.load(answer)
        except (OSError, ValueError, http.client.HTTPException):
            return
        if isinstance(names, list):
            found.extend(name for name in names if isinstance(name, str))

    if not url.startswith(("http://", "https://")):
        return []
    asking = threading.Thread(target=fetch, daemon=True)
    asking.start()
    asking.join(timeout)
    return [] if asking.is_alive() else found


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
