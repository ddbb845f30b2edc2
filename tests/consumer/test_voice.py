from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wtp.consumer.playout import Delay
from wtp.consumer.voice import MAX_OBJECTS, Sound, Voice
from wtp.errors import MediaError
from wtp.media.sound import Samples

HZ = 48_000
SIZE = 480
OBJECT_US = 10_000
START_US = 5_000_000


class FakeDecoder:
    """Objects are samples as bytes; made-up sound is -1."""

    def __init__(self, rate_hz: int = HZ, channels: int = 1) -> None:
        self.rate_hz, self.channels = rate_hz, channels

    def decode(self, payload: bytes) -> Samples:
        if payload == b"damaged":
            raise MediaError("Damaged.")
        return np.frombuffer(payload, np.int16).reshape(-1, self.channels)

    def conceal(self, count: int) -> Samples:
        return np.full((count, self.channels), -1, np.int16)

    def reset(self) -> None:
        pass


def counting(seq: int, size: int = SIZE) -> bytes:
    """Samples that count from 0 on, modulo 10000, through all objects."""
    first = seq * size
    return (np.arange(first, first + size) % 10_000).astype(np.int16).tobytes()


def sound(seq: int, payload: bytes | None = None, shift_us: int = 0) -> Sound:
    return Sound(
        seq, START_US + seq * OBJECT_US + shift_us, counting(seq) if payload is None else payload
    )


def fixed(delay_ms: int = 50) -> Delay:
    return Delay(delay_ms)


def make(delay: Delay | None = None, **more: int) -> Voice:
    return Voice(FakeDecoder(), delay or fixed(), rate_hz=HZ, channels=more.get("channels", 1))


def hear(voice: Voice, blocks: int, at_us: int = START_US + 50_000) -> list[int]:
    """What is heard in so many callbacks of 10 ms; silence is 0."""
    out: list[int] = []
    for n in range(blocks):
        got = voice.pull(SIZE, at_us + n * OBJECT_US)
        out += [0] * SIZE if got is None else got[:, 0].tolist()
    return out


def test_samples_are_heard_in_order_and_exactly_their_delay_after_capture() -> None:
    voice = make()
    for seq in range(20):
        voice.put(sound(seq))
    out = hear(voice, 20)
    assert out == [n % 10_000 for n in range(20 * SIZE)]
    assert voice.heard_delay_us(START_US + 50_000 + 190_000) == 50_000
    assert voice.ledger.delivered == 20
    assert voice.ledger.balanced


def test_it_begins_in_the_middle_of_an_object_and_is_silent_until_one_is_due() -> None:
    voice = make()
    voice.put(sound(1))
    early = hear(voice, 1, START_US + 50_000 + 4_000)
    assert early[:288] == [0] * 288
    assert early[288:] == list(range(480, 480 + 192))
    late = make()
    for seq in (0, 1, 2):
        late.put(sound(seq))
    assert hear(late, 1, START_US + 50_000 + 12_500)[0] == 600
    assert late.ledger.dropped["late"] == 1


def test_a_lost_object_is_made_up_and_those_behind_it_keep_their_time() -> None:
    voice = make()
    for seq in (0, 1, 3, 4):
        voice.put(sound(seq))
    out = hear(voice, 5)
    assert out[2 * SIZE : 3 * SIZE] == [-1] * SIZE
    assert out[3 * SIZE :] == [n % 10_000 for n in range(3 * SIZE, 5 * SIZE)]
    assert voice.concealed_us == OBJECT_US


def test_a_damaged_object_is_made_up() -> None:
    voice = make()
    for one in (sound(0), sound(1, b"damaged"), sound(2)):
        voice.put(one)
    out = hear(voice, 3)
    assert out[SIZE : 2 * SIZE] == [-1] * SIZE
    assert out[2 * SIZE] == 2 * SIZE
    assert voice.ledger.dropped["damaged"] == 1
    assert voice.ledger.balanced


def test_a_long_gap_is_silence_and_sound_comes_back_at_its_time() -> None:
    voice = make()
    voice.put(sound(0))
    voice.put(sound(50))
    out = hear(voice, 52)
    assert out[:SIZE] == list(range(SIZE))
    assert out[10 * SIZE : 50 * SIZE] == [0] * 40 * SIZE
    assert out[50 * SIZE : 51 * SIZE] == [n % 10_000 for n in range(50 * SIZE, 51 * SIZE)]


def test_when_nothing_comes_it_makes_up_sound_and_the_capture_time_waits() -> None:
    delay = Delay("auto")
    delay.target_us = 50_000
    voice = make(delay)
    voice.put(sound(0))
    hear(voice, 3)
    assert voice.starved == 1
    delay.target_us = 70_000
    for seq in (1, 2, 3):
        voice.put(sound(seq))
    out = hear(voice, 2, START_US + 50_000 + 3 * OBJECT_US)
    assert out[0] == SIZE, "nothing is lost by coming late"
    assert voice.starved == 1


def test_what_comes_too_late_or_twice_is_dropped() -> None:
    voice = make()
    for seq in (0, 1, 1, 2):
        voice.put(sound(seq))
    hear(voice, 3)
    assert voice.ledger.dropped["late"] == 1
    assert voice.ledger.delivered == 3


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    voice = make()
    for seq in range(MAX_OBJECTS + 5):
        voice.put(sound(seq))
    assert voice.ledger.dropped["overflow"] == 5
    voice.close()
    assert voice.ledger.dropped["stopped"] == MAX_OBJECTS
    assert voice.ledger.balanced


def test_mono_is_played_on_both_sides_and_stereo_mixed_to_one() -> None:
    both = make(channels=2)
    both.put(sound(0))
    got = both.pull(SIZE, START_US + 50_000)
    assert got is not None
    assert got.shape == (SIZE, 2)
    assert (got[:, 0] == got[:, 1]).all()
    one = Voice(FakeDecoder(channels=2), fixed(), rate_hz=HZ, channels=1)
    one.put(Sound(0, START_US, np.array([[100, 300]] * SIZE, np.int16).tobytes()))
    mixed = one.pull(SIZE, START_US + 50_000)
    assert mixed is not None
    assert mixed[:, 0].tolist() == [200] * SIZE


def tone(seq: int, rate_hz: int, hz: float) -> bytes:
    size = rate_hz // 100
    at = np.arange(seq * size, (seq + 1) * size) / rate_hz
    samples: Samples = np.rint(8000 * np.sin(2 * np.pi * hz * at)).astype(np.int16)
    return samples.tobytes()


def peak_hz(samples: list[int]) -> float:
    spectrum = np.abs(np.fft.rfft(np.array(samples) * np.hanning(len(samples)), 1 << 20))
    return float(np.argmax(spectrum)) * HZ / (1 << 20)


def test_a_tone_of_44100_hz_keeps_its_pitch_at_48000() -> None:
    voice = Voice(FakeDecoder(44_100), fixed(), rate_hz=HZ, channels=1)
    for seq in range(100):
        voice.put(sound(seq, tone(seq, 44_100, 1000.0)))
    assert abs(peak_hz(hear(voice, 99)[SIZE:]) - 1000) < 1


@given(drift_ppm=st.integers(-2000, 2000), jitter=st.integers(0, 3000), seed=st.integers(0, 99))
def test_a_drifting_speaker_is_followed_within_the_lip_sync_limit(
    drift_ppm: int, jitter: int, seed: int
) -> None:
    voice = make()
    random = np.random.default_rng(seed)
    worst_us = put = 0
    for n in range(300):
        play_us = START_US + 50_000 + round(n * OBJECT_US * (1 + drift_ppm / 1e6))
        while put * OBJECT_US < play_us - START_US + 20_000:
            voice.put(sound(put))
            put += 1
        assert voice.pull(SIZE, play_us + int(random.integers(-jitter, jitter + 1))) is not None
        heard_us = voice.heard_delay_us(play_us)
        assert heard_us is not None
        worst_us = max(worst_us, abs(heard_us - 50_000) - jitter)
    assert worst_us < 10_000
    assert voice.starved == voice.jumps == 0


@given(
    events=st.lists(
        st.tuples(st.integers(0, 3), st.integers(-30_000, 120_000), st.integers(0, 60)),
        max_size=120,
    )
)
def test_whatever_comes_every_pull_has_its_length_and_the_ledger_holds(
    events: list[tuple[int, int, int]],
) -> None:
    voice = make()
    seq, at_us = 0, START_US + 50_000
    for what, shift_us, step in events:
        if what == 3:
            at_us += step * 5_000
            got = voice.pull(SIZE, at_us)
            assert got is None or got.shape == (SIZE, 1)
        else:
            seq = max(0, seq + (step % 5) - 1)
            voice.put(sound(seq, b"damaged" if what == 2 else None, shift_us))
        assert voice.ledger.balanced
