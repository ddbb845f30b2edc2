"""A person at a terminal, with nobody behind it."""

from __future__ import annotations

import asyncio
import os
import pty
import termios
from collections.abc import AsyncIterator

import pytest

from tests.consumer.fakes import item, message
from wtp.chat.said import OwnLines, Said
from wtp.chat.screen import Screen
from wtp.chat.terminal import LARGEST, TYPED_AHEAD, Above, Terminal
from wtp.model import Kind


class Person:
    """Types, and reads what is shown."""

    def __init__(self) -> None:
        self.hand, self.tty = pty.openpty()
        self.before = termios.tcgetattr(self.tty)
        self.terminal = Terminal(self.tty, Screen(self.tty))
        self.own = OwnLines(self.terminal.settled)
        self.output = self.terminal.output(self.own)
        self.said: list[tuple[str, str]] = []
        self.taking = asyncio.Event()
        self.taking.set()
        self.seen = ""
        self.talking = asyncio.create_task(self.terminal.talk(self.say, "ann"))

    async def say(self, text: str, style: str) -> None:
        await self.taking.wait()
        self.said.append((text, style))
        self.own.sending(Said(text.encode(), style, 0))

    def type(self, text: str) -> None:
        os.write(self.hand, text.encode())

    async def types(self, text: str) -> None:
        """Type more than a terminal buffers."""
        data = text.encode()
        while data:
            data = data[await asyncio.to_thread(os.write, self.hand, data) :]

    async def sees(self, part: str) -> None:
        async with asyncio.timeout(60):
            while part not in self.seen:
                self.seen += (await asyncio.to_thread(os.read, self.hand, 4096)).decode()

    async def ends(self) -> None:
        async with asyncio.timeout(60):
            await self.talking

    async def close(self) -> None:
        self.talking.cancel()
        await asyncio.gather(self.talking, return_exceptions=True)
        self.terminal.close()
        os.close(self.hand)
        os.close(self.tty)


@pytest.fixture
async def person() -> AsyncIterator[Person]:
    person = Person()
    await person.sees("You are ann.")
    yield person
    await person.close()


async def test_what_is_typed_waits_for_its_receipt_and_is_then_marked(person: Person) -> None:
    person.type("hello\r")
    await person.sees("... hello")
    person.own.receipted(1)
    await person.sees("ann: hello  ")
    again = item(message(1, kind=Kind.CHAT, payload=b"hello", instance=person.own.instance))
    assert isinstance(person.output, Above)
    await asyncio.to_thread(person.output.take, [again])
    other = item(message(1, kind=Kind.CHAT, payload=b"hi \x1b[2J", instance="other"))
    await asyncio.to_thread(person.output.take, [other])
    await person.sees("cam: hi \\x1b[2J")
    assert person.seen.count("ann: hello  ") == 1


async def test_what_is_rejected_is_said(person: Person) -> None:
    person.type("hello\r")
    await person.sees("... hello")
    person.own.rejected(1, "the topic is closed\x1b[2J")
    await person.sees("the topic is closed\\x1b[2J")


async def test_commands(person: Person) -> None:
    person.type("/help\r/nonsense\r/me waves\r//etc\r   \r")
    await person.sees("pasted lines stay one message")
    await person.sees("There is no command /nonsense.")
    person.type("bye\r/quit\rlate\r")
    await person.ends()
    assert person.said == [("waves", "action"), ("/etc", ""), ("bye", "")]


async def test_a_paste_of_many_lines_is_one_message(person: Person) -> None:
    person.type("\x1b[200~one\ntwo\nthree\n\x1b[201~")
    await person.sees("three")
    assert person.said == []
    person.type("\r\x04")
    await person.ends()
    assert person.said == [("one\ntwo\nthree", "")]


async def test_a_message_that_is_too_long_stays_to_be_shortened(person: Person) -> None:
    await person.types("\x1b[200~" + "x" * (LARGEST + 1) + "\x1b[201~\r")
    await person.sees(f"a message has {LARGEST} at most")
    assert person.said == []


async def test_lines_typed_ahead_are_bounded(person: Person) -> None:
    person.taking.clear()
    for number in range(TYPED_AHEAD + 2):
        person.type(f"{number}\r")
        await asyncio.sleep(0)
    await person.sees("Not taken")
    person.taking.set()
    person.terminal.stop()
    await person.ends()


async def test_the_terminal_is_given_back(person: Person) -> None:
    assert termios.tcgetattr(person.tty) != person.before
    person.terminal.stop()
    await person.ends()
    person.terminal.close()
    assert termios.tcgetattr(person.tty) == person.before
    person.terminal.close()
