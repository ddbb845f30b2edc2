"""Single keys from the terminal, which is given back as it was whatever happens.

The terminal only stops collecting lines and echoing (cbreak); Ctrl-C and Ctrl-Z work as ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

try:
    import termios
    import tty
except ImportError:  # not on Windows
    termios = None  # type: ignore[assignment]  # absent there

READ_BYTES = 64
ARROWS = {b"\x1b[C": "right", b"\x1b[D": "left", b"\x1bOC": "right", b"\x1bOD": "left"}
"""What terminals send for arrows (ECMA-48, 8.3.18 and 8.3.20; with SS3 in application mode)."""


def parse_keys(data: bytes) -> list[str]:
    """Names of the keys in what a terminal sent: characters, `left`, `right`."""
    keys: list[str] = []
    at = 0
    while at < len(data):
        arrow = ARROWS.get(data[at : at + 3])
        if arrow:
            keys.append(arrow)
            at += 3
        elif data[at : at + 2] in (b"\x1b[", b"\x1bO"):
            at += 2
            while at < len(data) and not 0x40 <= data[at] <= 0x7E:
                at += 1
            at += 1
        else:
            keys.append(chr(data[at]))
            at += 1
    return keys


class Keys:
    """Calls what belongs to a key while it is open; does nothing without a terminal.

    Args:
        actions: By key.
        descriptor: The terminal; default: standard input.
    """

    def __init__(
        self, actions: Mapping[str, Callable[[], object]], descriptor: int | None = None
    ) -> None:
        self._actions = actions
        self._descriptor = descriptor
        self._before: list[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> bool:
        """Begin to read keys; tells whether there is a terminal in the foreground to do so."""
        if termios is None:
            return False
        try:
            fd = sys.stdin.fileno() if self._descriptor is None else self._descriptor
            if not os.isatty(fd) or os.tcgetpgrp(fd) != os.getpgrp():
                return False
            self._before = termios.tcgetattr(fd)
        except (OSError, ValueError, AttributeError, termios.error):
            return False
        self._descriptor = fd
        self._loop = asyncio.get_running_loop()
        try:
            self._cbreak()
            self._loop.add_reader(fd, self._read)
            self._loop.add_signal_handler(signal.SIGCONT, self._cbreak)
        except BaseException:
            self.close()
            raise
        return True

    def _cbreak(self) -> None:
        """Switch lines and echo off; also after the process was stopped and goes on."""
        if self._before is not None and self._descriptor is not None:
            with contextlib.suppress(termios.error, OSError):
                tty.setcbreak(self._descriptor, termios.TCSADRAIN)

    def _read(self) -> None:
        assert self._descriptor is not None  # noqa: S101 - open sets it
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        for key in parse_keys(data):
            action = self._actions.get(key)
            if action is not None:
                action()

    def close(self) -> None:
        """Give the terminal back; may be called several times."""
        before, self._before = self._before, None
        if before is None or self._descriptor is None or self._loop is None:
            return
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)
        if not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_signal_handler(signal.SIGCONT)
