from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from wtp.clock import monotonic_us
from wtp.errors import UsageError
from wtp.media.pace import Pacer
from wtp.media.source import PatternSource, Source, open_source
from wtp.media.testsrc import read_code

from .footage import clip


def ends_within(source: Source, act: Callable[[], None]) -> float:
    """Take pictures in a thread, act, and return how long the thread took to end."""
    started = threading.Event()

    def take() -> None:
        for _ in source.pictures():
            started.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert started.wait(60)
    begin = time.monotonic()
    act()
    thread.join(10)
    assert not thread.is_alive()
    return time.monotonic() - begin


def test_the_pacer_waits_and_tells_lateness() -> None:
    pacer = Pacer()
    assert pacer.wait(0) is not None
    begin = time.monotonic()
    late = pacer.wait(30_000)
    assert late is not None
    assert time.monotonic() - begin > 0.02
    later = pacer.wait(0)
    assert later is not None
    assert later >= 30_000


def test_a_closed_pacer_waits_no_more() -> None:
    pacer = Pacer()
    pacer.close()
    assert pacer.closed
    assert pacer.wait(0) is None


def test_the_pattern_comes_at_its_rate_with_true_stamps() -> None:
    source = open_source("testsrc", size=(160, 120), fps=100, now_us=monotonic_us)
    assert (source.name, source.width, source.height, source.fps) == ("testsrc", 160, 120, 100)
    begin = time.monotonic()
    pictures = list(itertools.islice(source.pictures(), 20))
    assert time.monotonic() - begin > 0.18
    assert all(read_code(p.planes) == p.capture_us for p in pictures)
    assert all(p.pts_us % 10_000 == 0 for p in pictures)
    stamps = [p.capture_us or 0 for p in pictures]
    assert stamps == sorted(set(stamps))


def test_a_slow_taker_gets_new_pictures_and_no_backlog() -> None:
    source = open_source("testsrc", size=(160, 120), fps=50, now_us=monotonic_us)
    pictures = source.pictures()
    next(pictures)
    time.sleep(0.2)
    asked_us = monotonic_us()
    late = next(pictures)
    assert late.capture_us is not None
    assert late.capture_us >= asked_us
    assert late.pts_us >= 180_000


def test_unpaced_pattern_is_as_fast_as_it_is_taken() -> None:
    source = open_source("testsrc", size=(160, 120), fps=1, now_us=monotonic_us, pace=False)
    begin = time.monotonic()
    pictures = list(itertools.islice(source.pictures(), 30))
    assert time.monotonic() - begin < 20  # seconds of pattern: 30
    assert [p.pts_us for p in pictures[:3]] == [0, 1_000_000, 2_000_000]


@pytest.mark.parametrize("spec", ["testsrc", "file"])
def test_closing_from_another_thread_ends_the_wait(spec: str) -> None:
    spec = clip("bikes") if spec == "file" else spec
    source = open_source(spec, fps=0.1, now_us=monotonic_us)
    assert ends_within(source, source.close) < 0.5
    source.close()
    assert list(source.pictures()) == []


@pytest.mark.parametrize("spec", ["testsrc", "file"])
def test_closing_before_the_first_picture(spec: str) -> None:
    source = open_source(clip("bikes") if spec == "file" else spec, now_us=monotonic_us)
    source.close()
    source.close()
    assert list(source.pictures()) == []


@pytest.mark.parametrize("fps", [0, -1, 1e9, float("nan")])
def test_an_impossible_rate_is_refused(fps: float) -> None:
    with pytest.raises(UsageError, match="pictures per second"):
        open_source("testsrc", fps=fps, now_us=monotonic_us)


def test_the_defaults() -> None:
    source = open_source("testsrc", now_us=monotonic_us)
    assert isinstance(source, PatternSource)
    assert (source.width, source.height, source.fps) == (640, 480, 30)
