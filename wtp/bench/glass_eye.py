"""Looks at what is shown: a process that grabs the screen, or takes a camera's pictures.

It reads the time out of every picture it gets. A time that it sees for the first time became
visible after the picture before: the latency that is counted is the most it can have been, and the
time from one grab to the next bounds how much less it was.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from wtp.bench.glass_code import CodeReader, camera_sides
from wtp.bench.glass_direct import tie_to_parent
from wtp.clock import monotonic_us
from wtp.errors import MediaError, WtpError
from wtp.media.picture import plane_views
from wtp.media.source import Source
from wtp.media.testsrc import CODE_COLUMNS, CODE_ROWS, block_px
from wtp.metrics import Latency, Timeline

GRABS_HZ = 250.0
"""How often the screen is grabbed: about the period in which a fast screen shows a picture."""

SEARCH_HZ = 10.0
SEARCH_S = 90.0
"""How long the code is looked for; a viewer takes a moment to open its window."""

RESCUE = 50
"""Pictures in a row without a code after which it is looked for again."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked at, and for how long.

    Attributes:
        environment: Variables of the display.
        size: Of the picture that is shown, in pixels.
        anchor_us: Unix µs of the drawing clock at CLOCK_MONOTONIC 0.
        warmup_s: Time after the first code that does not count.
        duration_s: Time that counts.
        camera: Id of a camera that is pointed at the screen; empty: the screen is grabbed.
    """

    environment: dict[str, str]
    size: tuple[int, int]
    anchor_us: int
    warmup_s: float
    duration_s: float
    camera: str = ""


@dataclass(slots=True)
class Sight:
    """What was seen.

    Attributes:
        latency: From drawn to seen, at most.
        timeline: The same by second.
        period: From one picture of the eye to the next.
        frames: Pictures that were looked at.
        readable: Those in which a time could be read.
    """

    timeline: Timeline
    latency: Latency = field(default_factory=Latency)
    period: Latency = field(default_factory=Latency)
    frames: int = 0
    readable: int = 0

    def snapshot(self) -> dict[str, Any]:
        """Figures with their units; see `glass.run`."""
        period = self.period.snapshot()
        share = self.readable / self.frames * 100 if self.frames else None
        return {
            **self.latency.snapshot(),
            "sampling_ms": period["p50_ms"],
            "sampling_p99_ms": period["p99_ms"],
            "grabbed": self.frames,
            "unreadable": self.frames - self.readable,
            "confidence_percent": None if share is None else round(share, 2),
            "histogram": self.latency.encoded(),
            "timeline": self.timeline.snapshot(),
        }


def watch(
    source: Source,
    reader: CodeReader,
    now_us: Callable[[], int],
    warmup_s: float,
    duration_s: float,
) -> Sight | None:
    """Look at every picture of a source until the time is over.

    Args:
        source: What the eye sees; it is closed at the end.
        reader: Finds and reads codes.
        now_us: The clock that draws the times.
        warmup_s: Time after the first code that does not count.
        duration_s: Time that counts.

    Returns:
        What was seen; None when no code came within `SEARCH_S`.
    """
    give_up_us = now_us() + round(SEARCH_S * 1e6)
    sight: Sight | None = None
    begin_us = before_us = last_us = missed = 0
    try:
        for picture in source.pictures():
            at_us = now_us()
            drawn_us = reader.read(plane_views(picture.planes)[0])
            if sight is None:
                if drawn_us is not None:
                    begin_us = at_us + round(warmup_s * 1e6)
                    sight = Sight(Timeline(begin_us))
                elif at_us > give_up_us:
                    return None
                continue
            missed = missed + 1 if drawn_us is None else 0
            if missed >= RESCUE:
                reader.place, missed = None, 0
            if at_us > begin_us + round(duration_s * 1e6):
                return sight
            new = drawn_us is not None and drawn_us > last_us
            last_us = drawn_us if new and drawn_us is not None else last_us
            if at_us >= begin_us:
                _count(sight, at_us, drawn_us, before_us, new)
            before_us = at_us
    finally:
        source.close()
    return sight


def _count(sight: Sight, at_us: int, drawn_us: int | None, before_us: int, new: bool) -> None:
    sight.frames += 1
    sight.readable += drawn_us is not None
    if before_us:
        sight.period.add(at_us - before_us)
    if new and drawn_us is not None:
        sight.latency.add(at_us - drawn_us)
        sight.timeline.add(at_us, at_us - drawn_us)


async def see(look: Look) -> dict[str, Any]:
    """Look in a process of its own.

    Returns:
        `n`, percentiles from drawn to seen, `sampling_ms` (p50 from one grab to the next, by which
        a latency may be less) and `sampling_p99_ms`, `grabbed`, `unreadable`, `confidence_percent`
        (share of what was grabbed in which a code was read), `histogram`, `timeline`.

    Raises:
        WtpError: The screen or the camera cannot be used, or showed no code.
    """
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(look, theirs), daemon=True)
    await asyncio.to_thread(process.start)
    theirs.close()
    try:
        answer: dict[str, Any] = await asyncio.to_thread(mine.recv)
    except EOFError:
        await asyncio.to_thread(process.join)
        raise WtpError(
            f"The process that looks at the screen ended with {process.exitcode}.",
            hint="Its last words are above.",
        ) from None
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        mine.close()
    if "error" in answer:
        raise MediaError(answer["error"], hint=answer["hint"], code=answer["code"])
    return answer


def _run(look: Look, out: Connection) -> None:
    """The process: its answer, or its error, goes through the pipe."""
    tie_to_parent()
    os.environ.update(look.environment)
    if not os.environ.get("WAYLAND_DISPLAY"):
        os.environ.pop("WAYLAND_DISPLAY", None)
    try:
        out.send(_look(look))
    except WtpError as error:
        out.send({"error": error.message, "hint": error.hint, "code": error.code})


def _look(look: Look) -> dict[str, Any]:
    def now_us() -> int:
        return look.anchor_us + monotonic_us()

    if look.camera:
        from wtp.media.camera import open_camera

        camera = open_camera(look.camera, now_us=now_us)
        reader = CodeReader(camera_sides(camera.width), now_us)
        sight = watch(camera, reader, now_us, look.warmup_s, look.duration_s)
        where = f"by camera {look.camera}"
    else:
        sight = _watch_screen(look, now_us)
        where = f"on display {look.environment['DISPLAY']}"
    if sight is None or not sight.latency.n:
        raise MediaError(
            f"No picture with a readable time was seen {where}.",
            hint="The window must be visible as a whole, in its own size."
            if not look.camera
            else "Point the camera straight at the window, so that it fills most of the picture.",
            code="nothing-seen",
        )
    return sight.snapshot()


def _watch_screen(look: Look, now_us: Callable[[], int]) -> Sight | None:
    """Find the code on the whole screen, then grab nothing but it."""
    from wtp.media.screen import list_screens, open_screen

    side = block_px(*look.size)
    reader = CodeReader([side, side * 1.25, side * 1.5, side * 2.0], now_us)
    whole = open_screen("0", fps=SEARCH_HZ, now_us=now_us)
    give_up_us = now_us() + round(SEARCH_S * 1e6)
    try:
        for picture in whole.pictures():
            if reader.read(plane_views(picture.planes)[0]) is not None or now_us() > give_up_us:
                break
    finally:
        whole.close()
    place = reader.place
    if place is None:
        return None
    everything = list_screens()[0]
    left, top = (int(at) & ~1 for at in (place.x, place.y))
    wide = min(int(CODE_COLUMNS * place.side + place.side) & ~1, everything.width - left)
    high = min(int(CODE_ROWS * place.side + place.side) & ~1, everything.height - top)
    region = f"{left + everything.left},{top + everything.top},{wide}x{high}"
    source = open_screen(region, fps=GRABS_HZ, now_us=now_us)
    near = CodeReader([place.side], now_us)
    return watch(source, near, now_us, look.warmup_s, look.duration_s)
