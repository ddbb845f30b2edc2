"""Processes of wtp that run and show their figures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wtp.children.exposed import Exposed, list_exposed
from wtp.doctor.finding import Finding, State, Subject

WHY = "Those that show their figures can be watched: wtp dashboard."
SHOWN = 8


async def look(subject: Subject) -> list[Finding]:
    """List them."""
    return [judge(await asyncio.to_thread(list_exposed, subject.home))]


def judge(processes: Sequence[Exposed]) -> Finding:
    """Judge the list; that nothing runs is no fault."""
    if not processes:
        found = "none that shows its figures"
        return Finding("processes", State.OK, found, WHY)
    rows = [
        f"{one.role} (pid {one.pid}{f', room {one.room}' if one.room else ''}, {one.url})"
        for one in processes[:SHOWN]
    ]
    rows += [f"{len(processes) - SHOWN} more"] if len(processes) > SHOWN else []
    return Finding("processes", State.OK, ", ".join(rows), WHY)
