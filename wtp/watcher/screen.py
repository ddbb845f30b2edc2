"""The thread that decodes, composes and shows; pictures and OpenCV are touched nowhere else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from wtp.clock import monotonic_us
from wtp.consumer.hops import DECODE, RECEIVE, SHOW, TAKE
from wtp.errors import MediaError
from wtp.metrics import Latency
from wtp.watcher.decoding import Projector
from wtp.watcher.drawing import Drawing, News
from wtp.watcher.playout import ALL_US, Shot
from wtp.watcher.roster import Publisher, Roster, Track

if TYPE_CHECKING:
    from wtp.media.picture import Picture, Pixels

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
        self._projectors: dict[str, Projector] = {}

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
                reel, projector = track.reel, self._projectors.get(track.name)
                first_us = reel.first_us() if reel else None
                if reel and reel.reordered and first_us is not None:
                    if projector is None or projector.room:
                        return now_us
                    first_us = None
                held_us = projector.first_us() if projector else None
                wait_us = publisher.show_delay_us(now_us) - self.cost_us
                due += [one + wait_us for one in (first_us, held_us) if one is not None]
        return min(due, default=None)

    def _tracks(self) -> list[tuple[Publisher, Track]]:
        """Tracks with pictures, in the order of their names; the lock is held."""
        people = self._roster().publishers.values()
        found = [(one, t) for one in people for t in one.tracks.values() if t.reel is not None]
        return sorted(found, key=lambda pair: pair[1].name)

    def _turn(self, drawing: Drawing, window: Window) -> bool:
        """Show what is due; returns whether the window is still wanted."""
        begun_us = monotonic_us()
        ready: list[tuple[Publisher, Track, list[Shot], int]] = []
        roster = self._roster()
        with roster.lock:
            tracks = self._tracks()
            self._forget({track.name for _, track in tracks})
            for publisher, track in tracks:
                until_us = begun_us + self.cost_us + TOGETHER_US * (len(tracks) > 1)
                captured_us = until_us - publisher.show_delay_us(begun_us)
                ready.append((publisher, track, self._shots(track, captured_us), captured_us))
        news = []
        for publisher, track, shots, captured_us in ready:
            self._decode(publisher, track, shots)
            news.append((publisher, track, self._take(track, captured_us)))
        drawing.names = self.names
        drawn = drawing.update(news)
        going = window.show_pixels(drawing.pixels) if drawn else window.look_after()
        if going:
            self._account(news, begun_us)
            self._obey(window)
        return going

    def _shots(self, track: Track, captured_us: int) -> list[Shot]:
        """What is to be decoded now; the lock is held."""
        reel, projector = track.reel, self._projectors[track.name]
        if reel is None:
            return []
        if reel.reordered:
            return reel.due(ALL_US, projector.room)
        return reel.due(captured_us, AT_ONCE)

    def _forget(self, names: set[str]) -> None:
        """Have a projector for every track, and none for those that have left."""
        for gone in self._projectors.keys() - names:
            del self._projectors[gone]
        for name in names - self._projectors.keys():
            self._projectors[name] = Projector()

    def _decode(self, publisher: Publisher, track: Track, shots: list[Shot]) -> None:
        """Decode objects; what is of no use is dropped."""
        reel, projector = track.reel, self._projectors[track.name]
        assert reel is not None  # noqa: S101 - only such tracks are asked for
        for shot in shots:
            track.live = shot.live
            try:
                reason = projector.feed(shot)
            except MediaError as error:
                reason = "cannot-decode"
                if not track.refused:
                    self._roster().refuse(track, error)
            with self._roster().lock:
                if reason:
                    reel.ledger.drop(reason)
                if reason == "damaged":
                    reel.broken()
            if reel.reordered and shot.live:
                now_us = monotonic_us()
                for captured_us in projector.came:
                    publisher.delay.arrived(captured_us, now_us, self.cost_us)

    def _take(self, track: Track, captured_us: int) -> Picture | None:
        """The picture of a track that is to be shown now; those it has overtaken are dropped."""
        projector = self._projectors[track.name]
        picture = projector.take(captured_us)
        lost, projector.lost = projector.lost, 0
        with self._roster().lock:
            if track.reel is not None:
                track.reel.ledger.drop("skipped", lost)
        return picture

    def _account(self, news: News, begun_us: int) -> None:
        """Count what was shown, and measure delay and lip sync."""
        now_us = monotonic_us()
        fresh = [(p, t, picture) for p, t, picture in news if picture is not None]
        for publisher, track, picture in fresh:
            self.shown += 1
            if track.live:
                self._measure(publisher, now_us - (picture.capture_us or now_us), now_us)
            moments = self._projectors[track.name].moments
            with self._roster().lock:
                if track.live and moments is not None and moments.decode_us:
                    track.way.count((RECEIVE, TAKE), moments.take_us - moments.receive_us)
                    track.way.count((TAKE, DECODE), moments.decode_us - moments.take_us)
                    track.way.count((DECODE, SHOW), now_us - moments.decode_us)
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
