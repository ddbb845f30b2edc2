"""Keys from a pseudo-terminal; the terminal is given back."""

from __future__ import annotations

import asyncio
import os
import pty
import termios
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from wtp.replayer.keys import Keys, parse_keys


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b" q", [" ", "q"]),
        (b"\x1b[C\x1b[D", ["right", "left"]),
        (b"\x1bOC+\x1bOD-", ["right", "+", "left", "-"]),
        (b"\x1b[5~x", ["x"]),
        (b"\x1b[1;5Cx", ["x"]),
        (b"\x1b", ["\x1b"]),
        (b"\x1b[", []),
        (b"\xff", ["\xff"]),
        (b"", []),
    ],
)
def test_what_a_terminal_sends(data: bytes, names: list[str]) -> None:
    assert parse_keys(data) == names


@dataclass
class Terminal:
    """Both ends of a pseudo-terminal."""

    outside: int
    inside: int

    @property
    def cooked(self) -> bool:
        return bool(termios.tcgetattr(self.inside)[3] & termios.ICANON)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    outside, inside = pty.openpty()
    # It is not this process's controlling terminal, so it has no foreground group to ask for.
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    yield Terminal(outside, inside)
    os.close(outside)
    os.close(inside)


async def test_keys_act_and_the_terminal_is_given_back(terminal: Terminal) -> None:
    pressed: list[str] = []
    last = asyncio.Event()
    keys = Keys(
        {" ": lambda: pressed.append("space"), "left": lambda: pressed.append("left"),
         "q": last.set},
        terminal.inside,
    )  # fmt: skip
    assert keys.open()
    assert not terminal.cooked
    os.write(terminal.outside, b" z\x1b[Dq")
    async with asyncio.timeout(60):
        await last.wait()
    keys.close()
    keys.close()
    assert terminal.cooked
    assert pressed == ["space", "left"]


async def test_a_fault_while_opening_gives_the_terminal_back(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no signals here")

    keys = Keys({}, terminal.inside)
    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", refuse)
    with pytest.raises(RuntimeError):
        keys.open()
    assert terminal.cooked


async def test_in_the_background_the_terminal_is_left_alone(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    assert not Keys({}, terminal.inside).open()
    assert terminal.cooked


async def test_without_a_terminal_there_are_no_keys() -> None:
    reading, writing = os.pipe()
    try:
        keys = Keys({}, reading)
        assert not keys.open()
        keys.close()
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_terminal_that_goes_ends_the_keys() -> None:
    outside, inside = pty.openpty()
    keys = Keys({}, inside)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
        assert keys.open()
    os.close(outside)
    for _ in range(100):
        await asyncio.sleep(0.001)
        if keys._before is None:
            break
    assert keys._before is None
    os.close(inside)
