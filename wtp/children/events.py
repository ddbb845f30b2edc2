"""The two ends of a child process agree on this: events, errors and the life line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from wtp.errors import WtpError

Event = dict[str, Any]

GRACE_S = 10.0
"""Seconds a child may take to finish after its life line has ended; then it is ended hard."""


def error_event(error: WtpError) -> Event:
    """An error as an event of the child's stdout."""
    return {
        "event": "error",
        "type": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }


def error_from(event: Mapping[str, Any]) -> WtpError:
    """The error of an event: in its class when that is one of ours, else with its exit code."""
    code, exit_code = str(event.get("code", "error")), int(event.get("exit_code", 1))
    kinds = _tree(WtpError)
    named = [kind for kind in kinds if kind.__name__ == event.get("type")]
    fitting = named or [kind for kind in kinds if kind.exit_code == exit_code] or [WtpError]
    return fitting[0](str(event.get("message", "")), hint=str(event.get("hint", "")), code=code)


def _tree(kind: type[WtpError]) -> list[type[WtpError]]:
    return [kind, *(inner for sub in kind.__subclasses__() for inner in _tree(sub))]


def parent_gone(finish: Callable[[], None], grace_s: float = GRACE_S) -> None:
    """In a child: watch the life line from a thread of its own.

    Args:
        finish: Called on the running loop when stdin ends (the parent closed it, or died).
        grace_s: Seconds until the process ends hard when it has not finished by then, so that a
            loop that hangs leaves nothing running either.
    """
    loop = asyncio.get_running_loop()

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish)
        threading.Event().wait(grace_s)
        os._exit(1)

    threading.Thread(target=watch, name="life-line", daemon=True).start()
