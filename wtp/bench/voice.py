"""The sound part of `wtp bench glass`: from a microphone's frame to the sound card's call.

A speaker without a device asks for 10 ms of sound every 10 ms, as a sound card does; what it is
handed comes out of the jitter buffer that `wtp consume --play` and `wtp watch` use.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from wtp.bench.path import LocalPath
from wtp.clock import monotonic_us
from wtp.config.schema import RoomSettings, Settings
from wtp.consumer.request import Request
from wtp.consumer.run import Consumer
from wtp.consumer.sound import Play, Pull
from wtp.errors import WtpError
from wtp.metrics import Latency
from wtp.model import Kind

CALL_S = 0.01
FRAME_US = 10_000
"""A microphone hands its frame over when its last sample is there: so long after its first."""


class MutedCard:
    """A sound card that nobody hears.

    Args:
        pull: Gives the sound.
        rate_hz: Samples a second.
        channels: Of what is pulled.

    Attributes:
        latency_us: Nearly nothing, for what counts is the call.
    """

    def __init__(self, pull: Pull, rate_hz: int, channels: int) -> None:
        self.rate_hz, self.channels = rate_hz, channels
        self.state, self.underruns, self.muted = "playing", 0, True
        self.latency_us = 1
        self._pull = pull
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._call, name="card", daemon=True)

    def open(self) -> None:
        """Begin to pull."""
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._end.set()
        self._thread.join()

    def _call(self) -> None:
        due_us = monotonic_us()
        count = round(self.rate_hz * CALL_S)
        while not self._end.wait(max(0, due_us - monotonic_us()) / 1e6):
            now_us = monotonic_us()
            self._pull(count, now_us)
            # A card keeps its pace: calls that were missed are made up for, up to a tenth second.
            due_us = max(due_us + round(CALL_S * 1e6), now_us - 100_000)


async def listen(path: LocalPath, warmup_s: float, duration_s: float) -> dict[str, Any]:
    """Play the sound of a path's room.

    Returns:
        `n`, percentiles in ms from the microphone's handing a frame over to the call in which it is
        handed to the sound card, `starved` calls, `concealed_ms`, `dropped` by reason.

    Raises:
        WtpError: There was no sound.
    """
    settings = Settings(broker=path.broker, rooms=RoomSettings(room=path.room))
    play = Play(settings.watch, speaker=MutedCard)
    consumer = Consumer(settings, Request(kind=Kind.AUDIO, wait=True), play)
    latency = Latency()
    async with asyncio.TaskGroup() as group:
        group.create_task(consumer.run(lambda _: None))
        await asyncio.sleep(warmup_s)
        end_us = monotonic_us() + round(duration_s * 1e6)
        while (now_us := monotonic_us()) < end_us:
            heard_us = play.voice.heard_delay_us(now_us) if play.voice else None
            if heard_us is not None:
                latency.add(heard_us - FRAME_US)
            await asyncio.sleep(CALL_S)
        figures = play.figures()
        consumer.stop()
    if not latency.n:
        raise WtpError("No sound arrived.", hint="Try a longer --warmup.")
    return {
        **latency.snapshot(),
        "starved": figures["starved"],
        "concealed_ms": figures["concealed_ms"],
        "dropped": figures["ledger"]["dropped"],
    }
