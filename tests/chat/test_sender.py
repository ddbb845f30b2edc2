"""Own lines against the router stand-in: names that are taken, lines that are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.publisher.standin import Standin, make_certificate, serving
from wtp.chat.room import Chat
from wtp.chat.said import OwnLines, Said
from wtp.chat.sender import NAMES, Sender, Who
from wtp.config.schema import BrokerSettings, RouterSettings, Settings
from wtp.consumer.output import Nowhere, Output
from wtp.errors import BrokerError, BrokerUnavailable, Refused
from wtp.transport.trust import Trust

Make = Callable[[Who], Chat]


class Nobody:
    """Says nothing."""

    echoes = True

    def output(self, own: OwnLines) -> Output:
        return Nowhere()

    def settled(self, said: Said, why: str) -> None:
        raise AssertionError("nothing was said")

    async def talk(self, say: Any, name: str) -> None:
        raise AssertionError("never usable")

    def stop(self) -> None:
        return

    def close(self) -> None:
        return


@pytest.fixture
def home() -> Standin:
    return Standin()


@dataclass(frozen=True)
class There:
    """A router without a broker behind it, and what trusts it."""

    settings: Settings
    trust: Trust


@pytest.fixture
async def there(home: Standin, tmp_path: Path, clean_home: Path) -> AsyncIterator[There]:
    certificate = make_certificate(tmp_path)
    async with serving(home, certificate) as (_, url):
        settings = Settings(
            router=RouterSettings(url=url),
            broker=BrokerSettings(url="pulsar://127.0.0.1:9", admin="http://127.0.0.1:9"),
        )
        yield There(settings, Trust(ca=certificate.cert_path))


@pytest.fixture
def chat(there: There) -> Make:
    return lambda who: Chat(there.settings, who, Nobody(), trust=there.trust)


def never(_: dict[str, Any]) -> None:
    raise AssertionError("not ready")


async def test_a_chosen_name_that_is_taken_is_refused(home: Standin, chat: Make) -> None:
    home.refuse["chat"] = "name-taken"
    role = chat(Who("ann", given=True))
    with pytest.raises(Refused) as caught:
        await role.run(never)
    assert "--name" in caught.value.hint
    assert len(home.guests) == 1


async def test_another_number_is_tried_for_a_name_nobody_chose(home: Standin, chat: Make) -> None:
    home.refuse["chat"] = "name-taken"
    role = chat(Who("ann", given=False))
    with pytest.raises(Refused):
        await role.run(never)
    assert len(home.guests) == NAMES
    assert role.info()["name"] == f"ann-{NAMES}"


async def test_without_a_broker_nothing_is_read(home: Standin, chat: Make) -> None:
    role = chat(Who("ann", given=True))
    with pytest.raises(BrokerUnavailable) as caught:
        await role.run(never)
    assert "No broker answers at pulsar://127.0.0.1:9" in caught.value.message


async def test_each_line_is_receipted_or_rejected_with_its_reason(
    home: Standin, there: There
) -> None:
    home.reject.add(b"bad")
    told: list[tuple[bytes, str]] = []
    own = OwnLines(lambda said, why: told.append((said.payload, why)))
    sender = Sender(there.settings, Who("ann", given=True), there.trust, own, wait=False)
    running = asyncio.create_task(sender.run())
    async with asyncio.timeout(60):
        await sender.usable.wait()
        for text in ("one", "bad", "two"):
            await sender.say(text, "action" if text == "two" else "")
        assert await sender.settle(asyncio.Event())
        with pytest.raises(BrokerError, match="1 object of chat was refused"):
            await sender.finish(settled=True)
        await running
    sender.close()
    assert sorted(told) == [(b"bad", "It is too large."), (b"one", ""), (b"two", "")]
    assert [obj.attributes for obj in home.objects["chat"]] == [
        {"author": "ann"}, {"author": "ann"}, {"author": "ann", "style": "action"},
    ]  # fmt: skip
    track = sender.snapshot()["track"]
    assert (track["offered"], track["delivered"], track["in_flight"]) == (3, 2, 0)
