"""Python itself, and which wtp it runs."""

from __future__ import annotations

import platform
import struct
import sys

from wtp import __version__
from wtp.doctor.finding import Finding, State, Subject

NEEDED = (3, 11)
"""First version with asyncio.TaskGroup and ExceptionGroup, on which wtp rests."""

WHY = "wtp needs Python 3.11 or newer of 64 bit, for which its libraries have wheels."


async def look(subject: Subject) -> list[Finding]:
    """Judge the interpreter that runs this."""
    return [judge(sys.version_info[:2], platform.python_version(), struct.calcsize("P") * 8)]


def judge(version: tuple[int, int], text: str, bits: int) -> Finding:
    """Judge an interpreter.

    Args:
        version: Major and minor.
        text: The whole version.
        bits: Of a pointer.
    """
    found = f"{platform.python_implementation()} {text}, {bits} bit, wtp {__version__}"
    state, mend = State.OK, ""
    if version < NEEDED:
        state, mend = State.FAULT, "sudo apt install python3.11 python3.11-venv"
    elif bits < 64:
        state, mend = State.WARNING, "Install a 64-bit Python: pulsar-client has no other wheels."
    return Finding("python", state, found, WHY, mend)
