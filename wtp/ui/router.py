"""What `wtp router` says."""

from __future__ import annotations

from typing import Any

from wtp.ui.common import clean, counted, drops, identity, number, seconds

Snapshot = dict[str, Any]


def announce(info: Snapshot) -> str:
    """Where the router listens, what to paste, and where the broker's data is."""
    lines = [
        f"router     {clean(info.get('url', ''))}",
        f"publish    --router {clean(info.get('url', ''))} "
        f"--cert-hash {clean(info.get('cert_hash', ''))}",
        f"broker     {clean(info.get('broker', ''))}",
    ]
    if info.get("broker_data"):
        lines[-1] += " (embedded, started here because nothing answered)"
        lines.append(f"data       {clean(info['broker_data'])}")
    return "\n".join(lines)


def line(snapshot: Snapshot) -> str:
    """The router in one line; the list of drops may be long, so it comes last."""
    objects = snapshot.get("objects") or {}
    broker = "broker ok" if snapshot.get("connected") else "BROKER DOWN"
    broker += "".join(
        f", processor {clean(url)} DOWN"
        for service in (snapshot.get("services") or {}).values()
        for url, one in service["urls"].items()
        if one["circuit"] != "closed"
    )
    queued = sum(number(track, "queued") for track in (snapshot.get("tracks") or {}).values())
    return (
        f"{broker}, {counted(number(snapshot, 'sessions'), 'session')}, "
        f"{counted(len(snapshot.get('tracks') or {}), 'track')}, "
        f"{counted(number(objects, 'offered'), 'object')}, queue {queued:.0f}, "
        f"dropped {drops(objects.get('dropped'))}"
    )


def summary(snapshot: Snapshot) -> str:
    """The router at its end."""
    lines = [f"router ran {seconds(number(snapshot, 'uptime_s'))}"]
    if snapshot.get("objects"):
        lines.append(f"objects    {identity(snapshot['objects'])}")
        lines.append(f"dropped    {drops(snapshot['objects'].get('dropped'))}")
    refused = snapshot.get("refused")
    if refused:
        lines.append(f"refused    {drops(refused)}")
    lines += [
        f"note       {clean(k)}: {clean(v)}" for k, v in (snapshot.get("notes") or {}).items()
    ]
    return "\n".join(lines)
