"""The data folder: room, and the right to write."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from pathlib import Path

from wtp.config.load import broker_folder
from wtp.doctor.finding import Finding, State, Subject

WHY = "The embedded broker keeps up to 1 GiB a topic there, files that arrive a spool."

LITTLE_BYTES, NONE_BYTES = 2 << 30, 64 << 20
"""Below the first it may become too little within a day, below the second within minutes."""


async def look(subject: Subject) -> list[Finding]:
    """Look at the folder that is, or would be made; nothing is made."""
    broker = broker_folder(subject.settings)
    folders = {"disk": subject.home}
    if not broker.is_relative_to(subject.home):
        folders["disk-broker"] = broker
    return [await asyncio.to_thread(judge, *item) for item in folders.items()]


def judge(check: str, folder: Path, free_bytes: int | None = None) -> Finding:
    """Judge a folder.

    Args:
        check: Name of the finding.
        folder: May be missing.
        free_bytes: What is free, for tests.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    named = "WTP_HOME" if check == "disk" else "WTP_BROKER_DATA"
    if not there.is_dir():
        found = f"{there} is a file, not a folder"
        return Finding(check, State.FAULT, found, WHY, f"export {named}=/another/folder")
    if free_bytes is None:
        free_bytes = shutil.disk_usage(there).free
    found = f"{folder}: {free_bytes / 2**30:.1f} GiB free"
    found += "" if folder.exists() else " (made at need)"
    if not os.access(there, os.W_OK | os.X_OK):
        found = f"{there} cannot be written by this user"
        mend = f"sudo chown -R $USER {shlex.quote(str(folder))}   # or set {named}"
        return Finding(check, State.FAULT, found, WHY, mend)
    if free_bytes < LITTLE_BYTES:
        state = State.FAULT if free_bytes < NONE_BYTES else State.WARNING
        mend = f"Free some space, keep less (wtp topics retention), or set {named}."
        return Finding(check, state, found, WHY, mend)
    return Finding(check, State.OK, found, WHY)
