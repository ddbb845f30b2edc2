"""The display on which pictures are shown: the user's, or a virtual one of our own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wtp.errors import MediaError, MissingLibrary

START_S, END_S = 20.0, 5.0

MARGIN_PX = 160
"""Room around the picture: a window may have a frame."""

PROGRAM = "Xvfb"

TIED = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"
)
"""Starts a program that gets SIGTERM (15) when its parent dies (PR_SET_PDEATHSIG, 1: prctl(2))."""


@dataclass(frozen=True, slots=True)
class Display:
    """A display.

    Attributes:
        name: As in DISPLAY.
        own: Whether it is a virtual one that was started here.
    """

    name: str
    own: bool

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which programs use it."""
        more = {"WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": "xcb"} if self.own else {}
        return {"DISPLAY": self.name, **more}

    def __str__(self) -> str:
        return f"a virtual display of its own (Xvfb {self.name})" if self.own else self.name


@asynccontextmanager
async def some_display(
    size: tuple[int, int], say: Callable[[str], None], *, seen: bool = False
) -> AsyncIterator[Display]:
    """The display of this session; where there is none, a virtual one as long as the block lasts.

    Args:
        size: Of the picture, in pixels.
        say: Told when a virtual one is started.
        seen: Whether a camera has to see it: then no virtual one will do.

    Raises:
        MediaError: A camera is to see what is not there.
        MissingLibrary: There is no display, and no Xvfb.
    """
    name = os.environ.get("DISPLAY", "")
    if name:
        yield Display(name, own=False)
        return
    if seen:
        raise MediaError(
            "A camera cannot see a virtual display, and DISPLAY is not set.",
            hint="Run it inside a desktop session, with the camera pointed at the screen.",
            code="no-display",
        )
    if shutil.which(PROGRAM) is None:
        raise MissingLibrary(
            "There is no display (DISPLAY is not set), and Xvfb, a virtual one, is not installed.",
            hint="Install it (apt install xvfb), or run it inside a desktop session.",
        )
    async with _virtual(size) as name:
        display = Display(name, own=True)
        say(f"DISPLAY is not set: showing on {display}")
        yield display


@asynccontextmanager
async def _virtual(size: tuple[int, int]) -> AsyncIterator[str]:
    """Run Xvfb, which chooses a free number; it ends with the block, or with this process."""
    width, height = (side + MARGIN_PX for side in size)
    read, write = os.pipe()
    words = [PROGRAM, "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24"]
    words += ["-nolisten", "tcp", "-noreset"]
    tied = [sys.executable, "-c", TIED] if sys.platform.startswith("linux") else []
    with os.fdopen(read, "rb") as answer:
        try:
            process = await asyncio.create_subprocess_exec(
                *tied, *words,
                pass_fds=[write],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(write)
        try:
            try:
                async with asyncio.timeout(START_S):
                    number = await asyncio.to_thread(answer.readline)
            except TimeoutError:
                number = b""
            if not number.strip():
                raise MediaError(
                    "Xvfb does not start.",
                    hint=f"See why: {' '.join([PROGRAM, ':77', *words[3:]])}",
                    code="no-display",
                )
            yield f":{number.decode().strip()}"
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
