"""Cameras: which there are, and whether this user may open them."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Sequence

from wtp.doctor.finding import Finding, State, Subject
from wtp.media.cameras import Camera, list_cameras
from wtp.media.v4l2 import users_of

WHY = "wtp publish --camera opens /dev/video*, which needs the right to, and one user at a time."


async def look(subject: Subject) -> list[Finding]:
    """List the cameras; none is opened."""
    if not sys.platform.startswith("linux"):
        found = "cameras are not listed without opening them on this system"
        return [Finding("camera", State.UNKNOWN, found, WHY, "wtp devices cameras")]
    return [await asyncio.to_thread(lambda: judge(list_cameras()))]


def judge(
    cameras: Sequence[Camera],
    may: Callable[[str], bool] = lambda path: os.access(path, os.R_OK | os.W_OK),
    users: Callable[[str], list[str]] = users_of,
) -> Finding:
    """Judge what was listed.

    Args:
        cameras: Those of this machine.
        may: Whether this user may open a device file.
        users: Programs that have it open.
    """
    if not cameras:
        mend = "Plug one in (containers: --device /dev/video0), or: wtp publish --source testsrc"
        return Finding("camera", State.UNKNOWN, "no camera here", WHY, mend)
    shut = [one for one in cameras if not may(one.path)]
    if shut:
        found = f"{shut[0].path} ({shut[0].name}) may not be opened by this user"
        user = shlex.quote(os.environ.get("USER") or "$USER").replace("'$USER'", "$USER")
        mend = f"sudo usermod -aG video {user}   # then log in again"
        if not os.path.exists(shut[0].path):
            found = f"{shut[0].path} ({shut[0].name}) is listed and has no device file here"
            mend = f"Give the container the device: docker run --device {shut[0].path} ..."
        return Finding("camera", State.WARNING, found, WHY, mend)
    busy = {one.path: names for one in cameras if (names := users(one.path))}
    listed = ", ".join(f"{one.path} ({one.name})" for one in cameras)
    if busy:
        path, names = next(iter(busy.items()))
        found = f"{listed}; {path} is in use by {', '.join(names)}"
        return Finding("camera", State.WARNING, found, WHY, f"End {names[0]}, or take another.")
    return Finding("camera", State.OK, listed, WHY)
