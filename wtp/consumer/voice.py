"""The sound of one track on its way to a speaker: an adaptive jitter buffer.

Objects wait encoded until their time; the speaker pulls, and what it pulls is decoded then. The
capture time of what is heard is steered to `time of hearing - delay`: a sound card whose clock is
faster or slower than the capture clock, and a delay that shrinks, are followed by stretching sound
by 1 % at most; a delay that has just grown, by what was made up while nothing came.

`put` and `pull` may be called from two threads; `pull` does nothing that waits.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wtp.consumer.playout import Delay
from wtp.errors import MediaError
from wtp.media.sound import Samples
from wtp.metrics import Ledger

MAX_OBJECTS = 400
"""Objects that wait at most: four seconds of 10 ms; more push the oldest out (`overflow`)."""

MAX_BYTES = 16 * 1024 * 1024

MAX_STRETCH = 0.01
STRETCH_PER_US = 2.5e-6
"""Share of speed per µs of error: 4 ms off gives the full 1 %."""

CALM_US = 1_500
"""Errors below it are noise of the speaker's clock: sound is handed on untouched."""

SMOOTHING = 0.05
JUMP_US = 60_000
"""Beyond it stretching would take too long: sound goes on elsewhere at once."""

GAP_US = 20_000
"""Where capture times step by more, there is a gap in the sound, not jitter of stamps."""

MAX_CONCEALED_US = 60_000
"""Longer losses than this are silence."""


class Decoder(Protocol):
    """What is used of `wtp.media.audio.AudioDecoder`."""

    rate_hz: int
    channels: int

    def decode(self, payload: bytes) -> Samples:
        """Decode one object."""
        ...

    def conceal(self, count: int) -> Samples:
        """Make up sound in place of what is missing."""
        ...

    def reset(self) -> None:
        """Forget what came before."""
        ...


@dataclass(frozen=True, slots=True)
class Sound:
    """One object of a sound track.

    Attributes:
        seq: Its number.
        capture_us: When its first sample was captured, CLOCK_MONOTONIC.
        payload: Its bytes.
    """

    seq: int
    capture_us: int
    payload: bytes


class Voice:
    """Plays one track in its time.

    Args:
        decoder: Of its content type.
        delay: From capture to hearing.
        rate_hz: Of what is pulled.
        channels: Of what is pulled.

    Attributes:
        ledger: What became of its objects: delivered ones were heard.
        concealed_us: Sound that was made up in place of lost objects.
        starved: Times that nothing was there to be played.
        jumps: Times that it went on elsewhere.
    """

    def __init__(self, decoder: Decoder, delay: Delay, *, rate_hz: int, channels: int) -> None:
        from wtp.media.cutting import Resampler

        self.ledger = Ledger()
        self.concealed_us = self.starved = self.jumps = 0
        self._decoder, self._delay = decoder, delay
        self._rate_hz, self._channels = rate_hz, channels
        self._resampler = None
        if decoder.rate_hz != rate_hz:
            self._resampler = Resampler(decoder.rate_hz, rate_hz, decoder.channels)
        self._lock = threading.Lock()
        self._waiting: deque[Sound] = deque()
        self._bytes = 0
        self._rest: Samples = np.zeros((0, decoder.channels), np.int16)
        self._rest_us = self._expected = self._length_us = 0
        self._playing = self._hungry = False
        self._error_us = 0.0
        self._heard: tuple[int, int] | None = None

    def put(self, sound: Sound) -> None:
        """Add an object, in the order of the track."""
        with self._lock:
            self.ledger.offer(len(sound.payload))
            if len(self._waiting) >= MAX_OBJECTS or self._bytes > MAX_BYTES:
                self._pop("overflow")
            self._waiting.append(sound)
            self._bytes += len(sound.payload)

    def close(self) -> None:
        """Nothing more is played: what waits is dropped as stopped."""
        with self._lock:
            while self._waiting:
                self._pop("stopped")

    def heard_delay_us(self, now_us: int, within_us: int = 200_000) -> int | None:
        """From capture to hearing of what is played now; None when nothing is.

        Args:
            now_us: CLOCK_MONOTONIC.
            within_us: How long ago it may have been handed over.
        """
        heard = self._heard
        if heard is None or abs(now_us - heard[0]) > within_us:
            return None
        return heard[0] - heard[1]

    @property
    def waiting_ms(self) -> float:
        """Sound that is there and not yet played, in ms."""
        with self._lock:
            newest_us = self._waiting[-1].capture_us if self._waiting else self._end_us
        return max(0, newest_us - self._rest_us) / 1000 if self._playing else 0.0

    def pull(self, count: int, play_at_us: int) -> Samples | None:
        """The next samples to be heard, `count` x channels; None for silence.

        Args:
            count: Their number.
            play_at_us: When the first will be heard, CLOCK_MONOTONIC.
        """
        due_us = play_at_us - self._delay.target_us
        if self._playing and abs(self._rest_us - due_us) > JUMP_US:
            self._playing, self._heard = False, None
            self.jumps += 1
        lead = 0
        if not self._playing:
            begun = self._begin(due_us, self._us(count))
            if begun is None:
                return None
            lead = begun
        wanted = count - lead
        take = self._stretched(wanted, due_us + self._us(lead))
        whole = self._fill(take + (take != wanted))
        self._heard = (play_at_us + self._us(lead), self._rest_us)
        out = self._cut(take, wanted) if whole else self._drain(wanted)
        return self._spread(np.concatenate((self._quiet(lead), out)) if lead else out)

    def _spread(self, samples: Samples) -> Samples:
        """The same with the channels of what is pulled; all of them together in each."""
        have = samples.shape[1]
        if have == self._channels:
            return samples
        mono = samples if have == 1 else samples.mean(axis=1, keepdims=True).astype(np.int16)
        return np.repeat(mono, self._channels, axis=1)

    def _us(self, count: int) -> int:
        return round(count * 1e6 / self._rate_hz)

    @property
    def _end_us(self) -> int:
        return self._rest_us + self._us(len(self._rest))

    def _quiet(self, count: int) -> Samples:
        return np.zeros((count, self._decoder.channels), np.int16)

    def _pop(self, reason: str = "") -> Sound:
        """Take the oldest object out, with the lock held: delivered, or dropped for a reason."""
        sound = self._waiting.popleft()
        self._bytes -= len(sound.payload)
        if reason:
            self.ledger.drop(reason)
        else:
            self.ledger.deliver()
        return sound

    def _begin(self, due_us: int, length_us: int) -> int | None:
        """Find what is due now; returns the samples of silence before it, None for only silence."""
        self._rest = self._quiet(0)
        with self._lock:
            while len(self._waiting) > 1 and self._waiting[1].capture_us <= due_us:
                self._pop("late")
            if not self._waiting or self._waiting[0].capture_us >= due_us + length_us:
                return None
            head = self._pop()
        self._decoder.reset()
        if self._resampler:
            self._resampler.flush()
        samples = self._decode(head)
        skip = round((due_us - head.capture_us) * self._rate_hz / 1e6)
        if skip >= len(samples):
            return None
        self._rest = samples[max(0, skip) :]
        self._rest_us = max(head.capture_us, due_us)
        self._expected = head.seq + 1
        self._playing, self._hungry, self._error_us = True, False, 0.0
        return max(0, -skip)

    def _stretched(self, wanted: int, due_us: int) -> int:
        """How many samples are to be played in the time of `wanted`."""
        self._error_us += (self._rest_us - due_us - self._error_us) * SMOOTHING
        if abs(self._error_us) < CALM_US:
            return wanted
        share = max(-MAX_STRETCH, min(MAX_STRETCH, self._error_us * STRETCH_PER_US))
        return max(1, round(wanted * (1 - share)))

    def _fill(self, needed: int) -> bool:
        """Decode until so many samples are there; False when there is nothing, or a long gap."""
        while len(self._rest) < needed:
            with self._lock:
                gap_us = self._waiting[0].capture_us - self._end_us if self._waiting else None
                if gap_us is None or gap_us > MAX_CONCEALED_US:
                    return False
                late = self._waiting[0].seq < self._expected
                head = self._pop("late" if late else "")
            if not late:
                self._append(head, gap_us)
        self._hungry = False
        return True

    def _append(self, head: Sound, gap_us: int) -> None:
        """Put an object behind the rest, with what is missing before it made up."""
        if gap_us > GAP_US or (head.seq > self._expected and gap_us > 0):
            self.concealed_us += gap_us
            self._join(self._conceal(gap_us))
        self._expected = head.seq + 1
        samples = self._decode(head)
        # The stamps are the truth; the number of samples drifts from them.
        self._rest_us = head.capture_us - self._us(len(self._rest))
        self._join(samples)

    def _join(self, samples: Samples) -> None:
        self._rest = np.concatenate((self._rest, samples)) if len(self._rest) else samples

    def _decode(self, sound: Sound) -> Samples:
        """Decode an object; a damaged one is made up."""
        try:
            samples = self._decoder.decode(sound.payload)
        except MediaError:
            with self._lock:
                self.ledger.deliver(-1)
                self.ledger.drop("damaged")
            return self._conceal(self._length_us)
        self._length_us = round(len(samples) * 1e6 / self._decoder.rate_hz)
        return self._fit(samples)

    def _conceal(self, length_us: int) -> Samples:
        return self._fit(self._decoder.conceal(round(length_us * self._decoder.rate_hz / 1e6)))

    def _fit(self, samples: Samples) -> Samples:
        """Samples at the rate of what is pulled."""
        return self._resampler.push(samples) if self._resampler else samples

    def _cut(self, take: int, wanted: int) -> Samples:
        """Take samples off the rest, stretched to `wanted`."""
        if take == wanted:
            out = self._rest[:take]
        else:
            places = np.arange(wanted, dtype=np.float32) * np.float32(take / wanted)
            left = places.astype(np.int32)
            share = (places - left)[:, None]
            before = self._rest[left].astype(np.float32)
            out = np.rint(before + (self._rest[left + 1] - before) * share).astype(np.int16)
        self._rest = self._rest[take:]
        self._rest_us += self._us(take)
        return out

    def _drain(self, wanted: int) -> Samples:
        """Play what is left and make up the rest; the capture time does not go on meanwhile."""
        if not self._hungry:
            self.starved += 1
            self._hungry = True
        out, self._rest_us = self._rest[:wanted], self._end_us
        self._rest = self._quiet(0)
        while len(out) < wanted:
            missing_us = round((wanted - len(out)) * 1e6 / self._rate_hz) + 1000
            made = self._conceal(missing_us)
            self.concealed_us += missing_us
            out = np.concatenate((out, made))
        return out[:wanted]
