"""The watcher role: show and play the pictures and sounds of a room in step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from wtp.clock import monotonic_us
from wtp.config.schema import BrokerSettings, Settings
from wtp.consumer.hops import Way, error_ms
from wtp.consumer.item import Item
from wtp.consumer.places import reach
from wtp.consumer.ports import Broker, Directory
from wtp.consumer.request import Request
from wtp.consumer.sound import Pull, Speaker, sound_cost_us
from wtp.errors import MediaError
from wtp.model import Kind
from wtp.watcher.reading import Administer, RoomReading
from wtp.watcher.roster import SOUND_CHANNELS, SOUND_HZ, Roster
from wtp.watcher.screen import Screen, Window

EXPIRE_S = 0.5
RATE_US = 2_000_000
"""The picture rate shown is that of so long a time."""

LEAVE_S = 3.0
"""What consumers and the broker's client get to say goodbye."""

WITHOUT_WINDOW = "--no-window plays the sound alone."
INSTEAD = {"no-display": "A window needs a desktop session, or ssh -X."}
"""What is said instead of a hint that speaks of options `wtp watch` has not."""

LOGGER = logging.getLogger("wtp.watcher")


@dataclass(frozen=True, slots=True)
class Watch:
    """What to watch and how.

    Attributes:
        window: Whether there is a window; without one only sound is played.
        sound: Whether sound is played.
        names: Whether names and delays are drawn from the start.
        muted: Whether it begins silent.
        device: Speaker, as `wtp devices` lists it; empty for the default one.
        duration_s: Seconds to watch; 0 for no end.
        request: Publisher, `wait`, and the router whose clock is measured.
    """

    window: bool = True
    sound: bool = True
    names: bool = False
    muted: bool = False
    device: str = ""
    duration_s: float = 0.0
    request: Request = field(default_factory=Request)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is read."""
        pictures = (Kind.VIDEO, Kind.SCREEN) if self.window else ()
        return (*pictures, Kind.AUDIO) if self.sound else pictures


class Watcher:
    """Shows and plays a room (the role behind `wtp watch`).

    Args:
        settings: Broker and admin URL, room, topic templates, delay.
        watch: What to watch and how.
        broker: Makes the broker's client, for tests.
        administer: Makes the admin API's client, for tests.
        window: Makes the window, for tests.
        speaker: Makes the speaker, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        watch: Watch,
        *,
        broker: Callable[[], Broker] | None = None,
        administer: Administer | None = None,
        window: Callable[[str], Window] | None = None,
        speaker: Callable[[Pull, str], Speaker] | None = None,
    ) -> None:
        self.settings, self.watch = settings, watch
        self.state = "starting"
        self.speaker: Speaker | None = None
        self.screen: Screen | None = None
        self.reading: RoomReading | None = None
        self.roster = Roster(
            settings.watch,
            picture_cost_us=lambda: self.screen.cost_us if self.screen else 0,
            sound_cost_us=lambda: sound_cost_us(self.speaker) if self.speaker else None,
        )
        self._make_broker = broker or partial(_connect, settings.broker)
        self._administer = administer or partial(_administer, settings.broker)
        self._make_window, self._make_speaker = window, speaker or _real_speaker
        self._stop = asyncio.Event()
        self._started_us = self._ended_us = 0
        self._rate = (0, 0)
        self._fps = 0.0
        self._last: list[dict[str, Any]] | None = None

    def stop(self) -> None:
        """Ask to finish."""
        self._stop.set()

    async def run(self, ready: Callable[[dict[str, Any]], None]) -> None:
        """Watch until stopped, the window is closed, or the time is up.

        Args:
            ready: Called once when watching, with what is watched.

        Raises:
            WtpError: There is no display, no broker, no such room, ...
        """
        broker: Broker | None = None
        try:
            await self._open_devices()
            url, wait = self.settings.broker.url, self.watch.request.wait
            if await self._unless_stopped(reach(url, wait=wait, note=LOGGER.info)):
                broker = self._make_broker()
                await self._watch(broker, ready)
        finally:
            self.state = "stopped"
            self._ended_us = monotonic_us()
            self._last = self.roster.snapshot()
            await asyncio.to_thread(self._close_devices)
            self.roster.close()
            if broker is not None:
                await _leave(broker)

    async def _open_devices(self) -> None:
        watch, loop = self.watch, asyncio.get_running_loop()
        if watch.window:
            self.screen = Screen(
                f"wtp watch {self.settings.rooms.room}",
                lambda: self.roster,
                names=watch.names,
                closed=lambda: _call(loop, self.stop),
                mute=self._turn_mute,
                window=self._make_window,
            )
            try:
                await asyncio.to_thread(self.screen.open)
            except MediaError as error:
                error.hint = f"{WITHOUT_WINDOW} {INSTEAD.get(error.code, error.hint)}"
                raise
        if not watch.sound:
            return
        speaker = self._make_speaker(self.roster.mix, watch.device)
        speaker.muted = watch.muted
        try:
            await asyncio.to_thread(speaker.open)
        except MediaError as error:
            if not watch.window:
                raise
            LOGGER.warning("No sound, pictures go on: %s %s", error.message, error.hint)
        else:
            self.speaker = speaker
            await asyncio.to_thread(_load_decoder)

    def _close_devices(self) -> None:
        if self.speaker is not None:
            self.speaker.close()
        if self.screen is not None:
            self.screen.close()

    def _turn_mute(self) -> None:
        if self.speaker is not None:
            self.speaker.muted = not self.speaker.muted

    async def _unless_stopped(self, work: Any) -> bool:
        """Wait for something, but no longer than until `stop`; whether it came first."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            return not self._stop.is_set()
        finally:
            task.cancel()
            stopped.cancel()

    async def _watch(self, broker: Broker, ready: Callable[[dict[str, Any]], None]) -> None:
        kinds = [k for k in self.watch.kinds if k is not Kind.AUDIO or self.speaker is not None]
        reading = self.reading = RoomReading(
            self.settings, kinds, self.watch.request, self._take, self._administer
        )
        self._started_us = monotonic_us()
        if self.watch.duration_s:
            asyncio.get_running_loop().call_later(self.watch.duration_s, self.stop)

        def joined(there: list[Kind]) -> None:
            self.state = "watching"
            ready(self._info(there))

        tasks = [
            asyncio.create_task(reading.run(broker, joined)),
            asyncio.create_task(self._look_after()),
            asyncio.create_task(self._stop.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            reading.stop()
            await asyncio.wait(tasks[:1], timeout=LEAVE_S)
            if tasks[0].done():
                tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _info(self, there: list[Kind]) -> dict[str, Any]:
        return {
            "room": self.settings.rooms.room,
            "kinds": [kind.value for kind in there],
            "broker": self.settings.broker.url,
            "window": self.screen is not None,
            "sound": self.speaker is not None,
        }

    def _take(self, item: Item) -> str:
        reason = self.roster.offer(item)
        if self.screen is not None and not item.content_type.startswith("audio/"):
            self.screen.wake()
        return reason

    async def _look_after(self) -> None:
        """Let the silent leave, and measure the rate."""
        while True:
            await asyncio.sleep(EXPIRE_S)
            now_us = monotonic_us()
            self.roster.expire(now_us)
            shown, (before, since_us) = self.screen.shown if self.screen else 0, self._rate
            if now_us - since_us >= RATE_US:
                self._fps = (shown - before) * 1e6 / (now_us - since_us) if since_us else 0.0
                self._rate = (shown, now_us)

    def snapshot(self) -> dict[str, Any]:
        """Live figures.

        Returns:
            `state`, `publishers` as `Roster.snapshot` tells, `fps` and `shown` pictures, `latency`
            from capture to show with its hops and clock error, `lip_sync_ms` of the publisher with
            most pictures, the `ledger` of all objects, `speaker`, and `left_out` before the roster
            by kind and reason.
        """
        now_us = self._ended_us or monotonic_us()
        people = self.roster.snapshot() if self._last is None else self._last
        synced = [one["lip_sync_ms"] for one in people if one["lip_sync_ms"]]
        reading, screen, speaker = self.reading, self.screen, self.speaker
        lost = reading is not None and reading.broker_lost
        return {
            "state": "broker-lost" if lost else self.state,
            "room": self.settings.rooms.room,
            "duration_s": round((now_us - (self._started_us or now_us)) / 1e6, 1),
            "publishers": people,
            "shown": screen.shown if screen else 0,
            "fps": round(self._fps, 1),
            "latency": _latency(screen, self.roster.way()) if screen else None,
            "lip_sync_ms": max(synced, key=lambda one: int(one["n"]), default=None),
            "ledger": self.roster.ledger().snapshot(),
            "speaker": _speaker(speaker),
            "left_out": reading.left_out() if reading else {},
        }


def _latency(screen: Screen, way: Way) -> dict[str, Any]:
    known = bool(screen.latency.n)
    return {
        "from": "capture",
        "to": "show",
        **screen.latency.snapshot(),
        "hops": way.snapshot(whole=known),
        "clock_error_ms": error_ms(way.clock_error_us, known=known),
    }


def _speaker(speaker: Speaker | None) -> dict[str, Any] | None:
    if speaker is None:
        return None
    return {
        "state": speaker.state,
        "latency_ms": round(speaker.latency_us / 1000, 1),
        "underruns": speaker.underruns,
        "muted": speaker.muted,
    }


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """Call on a loop from another thread; one that is closed needs no call."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function)


async def _leave(broker: Broker) -> None:
    """Close the broker's client; it takes long when the broker is not there."""
    closing = asyncio.create_task(broker.close())
    await asyncio.wait({closing}, timeout=LEAVE_S)
    closing.cancel()


def _connect(settings: BrokerSettings) -> Broker:
    from wtp.broker.connect import connect

    return connect(settings)


def _administer(
    settings: BrokerSettings,
) -> contextlib.AbstractAsyncContextManager[Directory]:
    from wtp.broker.connect import administer

    return administer(settings)


def _load_decoder() -> None:
    """Load the decoder's library, which takes a while, before the first object comes.

    Only now: see `Screen` for why it has to be later than the window.
    """
    from wtp.media.libraries import load_av

    with contextlib.suppress(MediaError):
        load_av()


def _real_speaker(pull: Pull, device: str) -> Speaker:
    from wtp.media.speaker import Speaker as Real

    return Real(pull, rate_hz=SOUND_HZ, channels=SOUND_CHANNELS, device=device)
