"""The thread that decodes, composes and shows; pictures and OpenCV are touched nowhere else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from wtp.clock import monotonic_us
from wtp.errors import MediaError
from wtp.metrics import Latency
from wtp.watcher.drawing import Drawing, News
from wtp.watcher.playout import Shot
from wtp.watcher.roster import Publisher, Roster, Track

if TYPE_CHECKING:
    from wtp.media.picture import Picture, Pixels
    from wtp.media.video import VideoDecoder

IDLE_S = 0.05
"""The window is looked after so often while no picture is due."""

TOGETHER_US = 4_000
"""Pictures of several tracks that are due within so long are shown at once."""

AT_ONCE = 24
"""Pictures decoded before the newest is shown: a long group is run through as one sees it."""

FIRST_COST_US = 6_000
"""Of decoding, drawing and showing a picture, until it was measured."""

SMOOTHING = 16
MAX_COST_US = 50_000

KEY_INFO, KEY_MUTE, KEY_FULL = ord("i"), ord("m"), ord("f")

LOGGER = logging.getLogger("wtp.watcher")


class Window(Protocol):
    """What is used of `wtp.media.sink.WindowSink`."""

    key: int

    def show_pixels(self, pixels: Pixels) -> bool:
        """Show pixels; False when the viewer has had enough."""
        ...

    def look_after(self) -> bool:
        """Let the window system have its turn; False likewise."""
        ...

    def turn_full(self) -> None:
        """Fill the screen, or stop doing so."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Screen:
    """Shows the pictures of a roster, each in its time, until closed.

    Args:
        title: Of the window.
        roster: Function that gives it; it is asked for once `open` has returned.
        names: Whether names and delays are drawn from the start.
        closed: Called, in the thread, when the viewer closes the window.
        mute: Called, in the thread, for the key m.
        window: Makes the window, for tests.

    Attributes:
        cost_us: From a picture's turn to its being shown, smoothed.
        shown: Pictures shown.
        latency: From capture to show, over all publishers whose clock is known.
    """

    def __init__(
        self,
        title: str,
        roster: Callable[[], Roster],
        *,
        names: bool = False,
        closed: Callable[[], None],
        mute: Callable[[], None],
        window: Callable[[str], Window] | None = None,
    ) -> None:
        self.cost_us = FIRST_COST_US
        self.shown = 0
        self.latency = Latency()
        self.names = names
        self._title, self._roster = title, roster
        self._closed, self._mute = closed, mute
        self._make_window = window or _real_window
        self._changed = threading.Condition()
        self._wake_us: int | None = None
        self._stop = False
        self._opened = threading.Event()
        self._problem: MediaError | None = None
        self._thread = threading.Thread(target=self._work, name="screen", daemon=True)
        self._decoders: dict[str, tuple[str, VideoDecoder]] = {}

    def open(self) -> None:
        """Open the window; blocks until it is there.

        Raises:
            MediaError: There is no display.
            MissingLibrary: OpenCV or PyAV cannot be loaded.
        """
        self._thread.start()
        self._opened.wait()
        if self._problem is not None:
            raise self._problem

    def close(self) -> None:
        """Close the window; may be called more than once, and when `open` failed."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(3.0)

    def wake(self) -> None:
        """Something came: look whether it is due before what is waited for."""
        with self._changed:
            self._changed.notify()

    def _work(self) -> None:
        window: Window | None = None
        try:
            from wtp.media.grid import Grid
            from wtp.media.libraries import load_av

            # Each brings an X library of its own: once PyAV's is loaded, OpenCV opens no window.
            window = self._make_window(self._title)
            load_av()
            drawing = Drawing(Grid())
        except MediaError as error:
            self._problem = error
            return
        finally:
            self._opened.set()
        try:
            going = True
            while going and not self._stop:
                self._wait()
                going = self._turn(drawing, window)
            if not going:
                self._closed()
        finally:
            window.close()

    def _wait(self) -> None:
        """Wait until a picture is due, or the window wants to be looked after."""
        end_us = monotonic_us() + round(IDLE_S * 1e6)
        with self._changed:
            while not self._stop:
                due_us = self._due_us()
                until_us = end_us if due_us is None else min(end_us, due_us)
                left_us = until_us - monotonic_us()
                if left_us <= 0:
                    return
                self._changed.wait(left_us / 1e6)

    def _due_us(self) -> int | None:
        """When the next picture's turn begins; None when none waits."""
        roster, due, now_us = self._roster(), [], monotonic_us()
        with roster.lock:
            for publisher, track in self._tracks():
                first_us = track.reel.first_us() if track.reel else None
                if first_us is not None:
                    due.append(first_us + publisher.show_delay_us(now_us) - self.cost_us)
        return min(due, default=None)

    def _tracks(self) -> list[tuple[Publisher, Track]]:
        """Tracks with pictures, in the order of their names; the lock is held."""
        people = self._roster().publishers.values()
        found = [(one, t) for one in people for t in one.tracks.values() if t.reel is not None]
        return sorted(found, key=lambda pair: pair[1].name)

    def _turn(self, drawing: Drawing, window: Window) -> bool:
        """Show what is due; returns whether the window is still wanted."""
        begun_us = monotonic_us()
        ready: list[tuple[Publisher, Track, list[Shot]]] = []
        roster = self._roster()
        with roster.lock:
            tracks = self._tracks()
            for publisher, track in tracks:
                until_us = begun_us + self.cost_us + TOGETHER_US * (len(tracks) > 1)
                captured_us = until_us - publisher.show_delay_us(begun_us)
                shots = track.reel.due(captured_us, AT_ONCE) if track.reel else []
                ready.append((publisher, track, shots))
        self._forget({track.name for _, track, _ in ready})
        news = [(p, t, self._decode(t, shots)) for p, t, shots in ready]
        drawing.names = self.names
        drawn = drawing.update(news)
        going = window.show_pixels(drawing.pixels) if drawn else window.look_after()
        if going:
            self._account(news, begun_us)
            self._obey(window)
        return going

    def _forget(self, names: set[str]) -> None:
        """Give the decoders of tracks back that have left."""
        for gone in self._decoders.keys() - names:
            del self._decoders[gone]

    def _decode(self, track: Track, shots: list[Shot]) -> Picture | None:
        """Decode everything that is due; returns the newest picture."""
        newest: Picture | None = None
        reel = track.reel
        assert reel is not None  # noqa: S101 - only such tracks are asked for
        for shot in shots:
            track.live = shot.live
            reason, picture = self._picture(track, shot)
            if picture is not None and newest is not None:
                reason = "skipped"
            newest = picture or newest
            with self._roster().lock:
                if reason or picture is None:
                    reel.ledger.drop(reason or "no-key")
                if reason == "damaged":
                    reel.broken()
        return newest

    def _picture(self, track: Track, shot: Shot) -> tuple[str, Picture | None]:
        """Why a picture cannot be shown, or "" and the picture."""
        run = f"{shot.run} {shot.content_type}"
        known, decoder = self._decoders.get(track.name, ("", None))
        try:
            if decoder is None or known != run:
                from wtp.media.video import VideoDecoder

                decoder = VideoDecoder(shot.content_type)
                self._decoders[track.name] = (run, decoder)
        except MediaError as error:
            if not track.refused:
                self._roster().refuse(track, error)
            return "cannot-decode", None
        try:
            pictures = decoder.decode(shot.payload, capture_us=shot.capture_us)
        except MediaError:
            return "damaged", None
        return "", pictures[-1] if pictures else None

    def _account(self, news: News, begun_us: int) -> None:
        """Count what was shown, and measure delay and lip sync."""
        now_us = monotonic_us()
        fresh = [(p, t, picture) for p, t, picture in news if picture is not None]
        for publisher, track, picture in fresh:
            self.shown += 1
            if track.live:
                self._measure(publisher, now_us - (picture.capture_us or now_us), now_us)
            with self._roster().lock:
                if track.reel is not None:
                    track.reel.ledger.deliver()
        if fresh:
            cost_us = min(now_us - begun_us, MAX_COST_US)
            self.cost_us += (cost_us - self.cost_us) // SMOOTHING

    def _measure(self, publisher: Publisher, seen_us: int, now_us: int) -> None:
        """Take a picture's way from capture to show into account."""
        publisher.shown_delay_us = seen_us
        publisher.sync.add(seen_us, publisher.heard_us(now_us))
        if publisher.timeline.known:
            self.latency.add(seen_us)

    def _obey(self, window: Window) -> None:
        """Do what the key that was pressed stands for."""
        if window.key == KEY_INFO:
            self.names = not self.names
        elif window.key == KEY_MUTE:
            self._mute()
        elif window.key == KEY_FULL:
            window.turn_full()


def _real_window(title: str) -> Window:
    from wtp.media.sink import WindowSink

    return WindowSink(title)
