"""Outputs that decode: a window, and half blocks in the terminal."""

from __future__ import annotations

import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from wtp.clock import monotonic_us
from wtp.consumer.item import Item, Place, Seen, read_place
from wtp.consumer.output import STALE_US, Finished, Sink, escape
from wtp.errors import MediaError, UsageError

if TYPE_CHECKING:
    from wtp.media.picture import Picture
    from wtp.media.sink import WindowSink
    from wtp.media.video import VideoDecoder

MAX_DECODERS = 8
"""Tracks that are decoded side by side; more make the longest silent one give way."""

IDLE_S = 0.02
"""How often a window is looked after while no picture comes."""

PREVIEW_PERIOD_US = 66_000
"""A terminal is drawn 15 times a second at most."""

HOME, CLEAR, END_OF_LINE = "\x1b[H", "\x1b[2J", "\x1b[K"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Screen(Protocol):
    """Shows decoded pictures."""

    def open(self) -> None:
        """Make ready."""
        ...

    def show(self, picture: Picture, item: Item) -> bool:
        """Show a picture; False when it was left out. Raises Finished when no more is wanted."""
        ...

    def say(self, sentence: str) -> None:
        """Show a sentence in place of a picture."""
        ...

    def idle(self) -> None:
        """Do what is due while nothing comes."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class Decoded:
    """Decodes one track at a time and shows its newest picture.

    Another track has its turn when the one on show falls silent. After a gap it waits for a key
    frame rather than show a broken picture. Pictures that only lead to the present are not shown,
    except the last one when nothing follows. Of messages that are not ours it decodes what looks
    like a picture; their positions in the topic tell of gaps.

    Args:
        screen: Where pictures go.
    """

    inline = False
    lossless = False
    idle_s = IDLE_S

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._decoders: OrderedDict[str, VideoDecoder] = OrderedDict()
        self._next: dict[str, tuple[str, int]] = {}
        self._places: dict[str, Place] = {}
        self._track: str | None = None
        self._last_us = 0
        self._withheld: tuple[Picture, Item] | None = None
        self._seen: list[Seen] = []

    def open(self) -> None:
        """Make the screen ready."""
        self._screen.open()

    def take(self, items: Sequence[Item]) -> list[str]:
        """Decode all objects of the track on show; show the last picture of them."""
        reasons: list[str] = []
        newest: tuple[Picture, Item] | None = None
        self._seen.clear()
        for item in items:
            reason, pictures = self._decode(item)
            reasons.append(reason)
            if pictures and item.catching_up:
                self._withheld = pictures[-1], item
            elif pictures:
                newest = pictures[-1], item
                self._seen.append(Seen(item, monotonic_us(), None))
        if newest:
            self._withheld = None
            if self._screen.show(*newest):
                self._seen[-1] = replace(self._seen[-1], show_us=monotonic_us())
        elif any(reason == "no-key" for reason in reasons):
            self._screen.say("Waiting for a key frame.")
        return reasons

    def seen(self) -> list[Seen]:
        """What the last `take` decoded and showed."""
        seen, self._seen = self._seen, []
        return seen

    def _decode(self, item: Item) -> tuple[str, list[Picture]]:
        """Why an object is left out, or "" and its pictures."""
        if not item.content_type.startswith(("video/", "image/")):
            return "not-a-picture", []
        at_us, source = item.message.receive_monotonic_us, item.source
        if source != self._track:
            if self._track is not None and at_us - self._last_us < STALE_US:
                return "other-track", []
            if not item.startable:
                return "no-key", []
            self._track = source
            self._places = {}
        self._last_us = at_us
        follows = self._follows(item)
        if item.obj is not None and not follows:
            return "no-key", []
        decoder = self._decoder(item)
        if not follows:
            decoder.reset()
        try:
            pictures = decoder.decode(item.message.payload, capture_us=item.stamp("capture_us"))
        except MediaError:
            self._next = {}
            return "damaged", []
        return "no-key" if item.foreign and decoder.waiting else "", pictures

    def _follows(self, item: Item) -> bool:
        """Whether nothing is missing before an object that may need earlier ones."""
        if item.obj is None:
            topic, place = item.message.topic, read_place(item.message.position)
            before, self._places[topic] = self._places.get(topic), place
            return before is not None and _next_to(before, place)
        source, seq = item.source, item.obj.seq
        if not item.startable and self._next.get(source) != (item.instance, seq):
            return False
        self._next = {source: (item.instance, seq + 1)}
        return True

    def _decoder(self, item: Item) -> VideoDecoder:
        name = f"{item.source} {item.content_type}"
        decoder = self._decoders.get(name)
        if decoder is None:
            from wtp.media.video import VideoDecoder

            decoder = self._decoders[name] = VideoDecoder(item.content_type)
            if len(self._decoders) > MAX_DECODERS:
                self._decoders.popitem(last=False)
        self._decoders.move_to_end(name)
        return decoder

    def idle(self) -> None:
        """Look after the screen."""
        if self._withheld is not None:
            withheld, self._withheld = self._withheld, None
            self._screen.show(*withheld)
        self._screen.idle()

    def close(self) -> None:
        """Close the screen."""
        self._screen.close()


def _next_to(before: Place, place: Place) -> bool:
    """Whether a position comes right behind another one, as far as positions tell.

    A ledger that ends says nothing about where, nor does a batch: both are taken to be complete.
    """
    if place[0] != before[0]:
        return place[0] > before[0] and place[1] == 0
    if place[1] == before[1]:
        return place[2] == before[2] + 1
    return place[1] == before[1] + 1 and place[2] <= 0


class Window:
    """A window on the desktop.

    Args:
        title: Of the window.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._sink: WindowSink | None = None
        self._picture: Picture | None = None

    def open(self) -> None:
        """Open it, in the thread that will use it."""
        from wtp.media.sink import WindowSink

        self._sink = WindowSink(self._title)

    def show(self, picture: Picture, item: Item) -> bool:
        """Show a picture."""
        self._picture = picture
        if self._sink is not None and not self._sink.show(picture):
            raise Finished
        return True

    def say(self, sentence: str) -> None:
        """A window keeps its last picture."""

    def idle(self) -> None:
        """Let the window system have its turn."""
        if self._picture is not None and self._sink and not self._sink.show(self._picture):
            raise Finished

    def close(self) -> None:
        """Close it."""
        if self._sink is not None:
            self._sink.close()


class Preview:
    """Half blocks in the terminal, with a line of figures below.

    Args:
        status: Makes the line below the picture.
        size: Columns and rows; None asks the terminal at every picture.
    """

    def __init__(self, status: Callable[[], str], size: tuple[int, int] | None = None) -> None:
        self._status, self._size = status, size
        self._sink = Sink("-")
        self._due_us = 0
        self._opened = False

    def open(self) -> None:
        """Clear the screen.

        Raises:
            UsageError: Standard output is no terminal.
        """
        self._sink.open()
        if self._size is None and not os.isatty(1):
            raise UsageError(
                "--preview draws on a terminal, and standard output is none.",
                hint="Use --save DIR or --raw - to pipe pictures on.",
            )
        self._opened = True
        self._sink.write((HIDE_CURSOR + CLEAR).encode())

    def show(self, picture: Picture, item: Item) -> bool:
        """Draw a picture, when the next one is due."""
        from wtp.media.sink import PreviewSink

        now_us = monotonic_us()
        if now_us < self._due_us:
            return False
        self._due_us = now_us + PREVIEW_PERIOD_US
        columns, rows = self._room()
        lines = PreviewSink(columns, rows - 1).lines(picture)
        self._draw([*lines, escape(f"{item.source}  {self._status()}")[: columns - 1]])
        return True

    def say(self, sentence: str) -> None:
        """Write a sentence where the picture will be."""
        self._draw([sentence])

    def _room(self) -> tuple[int, int]:
        if self._size is not None:
            return self._size
        columns, rows = shutil.get_terminal_size()
        return max(2, columns), max(2, rows)

    def _draw(self, lines: list[str]) -> None:
        text = HOME + "\r\n".join(f"{line}{END_OF_LINE}" for line in lines)
        self._sink.write(text.encode())

    def idle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Give the cursor back."""
        if self._opened:
            self._sink.write(f"{SHOW_CURSOR}\r\n".encode())
        self._sink.close()
