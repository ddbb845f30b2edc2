"""What `wtp processor` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wtp.ui.common import clean, counted, drops, identity, ms, number, seconds, size

if TYPE_CHECKING:
    from rich.table import Table

Snapshot = dict[str, Any]

STATES = {
    "ok": "ok",
    "draining": "draining",
    "code-missing": "CODE NOT LOADED",
    "no-broker": "BROKER DOWN",
}


def announce(info: Snapshot) -> str:
    """Where it serves, with what code, and what to write into a profile."""
    url, kind = clean(info.get("url", "")), clean(info.get("kind", ""))
    broker = clean(info.get("broker") or "")
    return "\n".join([
        f"processor  {url}",
        f"code       {clean(info.get('code', ''))} for {kind}",
        f"output     {f'published to {broker}' if broker else 'returned to the router'}",
        f"profile    services: {{{kind}: {{url: \"{url}\"}}}}",
    ])  # fmt: skip


def announce_work(info: Snapshot) -> str:
    """What is read, where it goes, and how more copies join."""
    return "\n".join([
        f"reads      {clean(info.get('topic', ''))}",
        f"code       {clean(info.get('code', ''))}",
        f"output     {clean(info.get('to', ''))}; of another kind: to that kind's topic",
        f"copies     share the subscription {clean(info.get('subscription', ''))}; start more",
    ])  # fmt: skip


def line(snapshot: Snapshot) -> str:
    """The processor in one line."""
    objects, took = snapshot.get("objects") or {}, snapshot.get("took") or {}
    runner = snapshot.get("runner") or {}
    parts = [
        STATES.get(str(snapshot.get("status")), clean(snapshot.get("status"))),
        counted(number(objects, "offered"), "object"),
        f"{ms(took.get('p50_ms'))} p50, {ms(took.get('p99_ms'))} p99",
    ]
    if number(runner, "restarts"):
        parts.append(f"code restarted {number(runner, 'restarts'):.0f} times")
    parts.append(f"dropped {drops(objects.get('dropped'))}")
    return ", ".join(parts)


def summary(snapshot: Snapshot) -> str:
    """The processor at its end."""
    objects, runner = snapshot.get("objects") or {}, snapshot.get("runner") or {}
    lines = [
        f"processed {seconds(number(snapshot, 'uptime_s'))} with {clean(snapshot.get('code'))}"
    ]
    if objects:
        lines.append(f"objects    {identity(objects)}")
        lines.append(f"dropped    {drops(objects.get('dropped'))}")
    if snapshot.get("refused"):
        lines.append(f"refused    {drops(snapshot['refused'])}")
    if number(snapshot, "dead_letters"):
        lines.append(f"dead       {counted(number(snapshot, 'dead_letters'), 'letter')}")
    if number(runner, "restarts"):
        lines.append(f"code       restarted {number(runner, 'restarts'):.0f} times")
    return "\n".join(lines)


def compared(result: Mapping[str, Any]) -> str:
    """A golden replay in words."""
    lines = [
        f"{counted(number(result, 'objects'), 'object')} in, {number(result, 'made'):.0f} out, "
        f"{number(result, 'failed'):.0f} failed"
    ]
    if result.get("updated"):
        lines.append(f"written to {clean(result.get('golden'))}; look at it before you keep it")
    elif not number(result, "count"):
        lines.append(f"as in {clean(result.get('golden'))}")
    lines += [clean(one) for one in result.get("differences") or []]
    more = number(result, "count") - len(result.get("differences") or [])
    if more > 0:
        lines.append(f"and {counted(more, 'more difference')}")
    return "\n".join(lines)


def speed(figures: Mapping[str, Any]) -> Table:
    """The speed of code beside a bare pass-through."""
    from rich.table import Table

    title = (
        f"{counted(number(figures, 'workers'), 'process')}, objects of "
        f"{size(number(figures, 'bytes'))}; medians of alternating rounds"
    ).replace("processs", "processes")
    table = Table(title=title, title_justify="left")
    for name in ("", "objects/s", "p50", "p99", "max", "failed"):
        table.add_column(name, justify="right" if name else "left")
    for name, shown in (("code", "code"), ("pass_through", "bare pass-through")):
        one = figures[name]
        table.add_row(
            shown,
            f"{number(one, 'objects_per_s'):.0f}",
            ms(one.get("p50_ms")),
            ms(one.get("p99_ms")),
            ms(one.get("max_ms")),
            f"{number(one, 'failed'):.0f}",
        )
    return table
