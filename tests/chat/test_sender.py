"""Own lines against the router stand-in: names that are taken, lines that are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.publisher.standin import Standin, make_certificate, serving
from wtp.chat.room import Chat
from wtp.chat.said import OwnLines, Said
from wtp.chat.sender import NAMES, Who
from wtp.config.schema import BrokerSettings, RouterSettings, Settings
from wtp.consumer.output import Nowhere, Output
from wtp.errors import BrokerUnavailable, Refused
from wtp.transport.trust import Trust


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


@pytest.fixture
async def chat(home: Standin, tmp_path: Path, clean_home: Path) -> AsyncIterator[Any]:
    certificate = make_certificate(tmp_path)
    async with serving(home, certificate) as (_, url):

        def make(who: Who) -> Chat:
            settings = Settings(
                router=RouterSettings(url=url),
                broker=BrokerSettings(url="pulsar://127.0.0.1:9", admin="http://127.0.0.1:9"),
            )
            return Chat(settings, who, Nobody(), trust=Trust(ca=certificate.cert_path))

        yield make


def never(_: dict[str, Any]) -> None:
    raise AssertionError("not ready")


async def test_a_chosen_name_that_is_taken_is_refused(home: Standin, chat: Any) -> None:
    home.refuse["chat"] = "name-taken"
    role = chat(Who("ann", given=True))
    with pytest.raises(Refused) as caught:
        await role.run(never)
    assert "--name" in caught.value.hint
    assert len(home.guests) == 1


async def test_another_number_is_tried_for_a_name_nobody_chose(home: Standin, chat: Any) -> None:
    home.refuse["chat"] = "name-taken"
    role = chat(Who("ann", given=False))
    with pytest.raises(Refused):
        await role.run(never)
    assert len(home.guests) == NAMES
    assert role.info()["name"] == f"ann-{NAMES}"


async def test_without_a_broker_nothing_is_read(home: Standin, chat: Any) -> None:
    role = chat(Who("ann", given=True))
    with pytest.raises(BrokerUnavailable) as caught:
        await role.run(never)
    assert "No broker answers at pulsar://127.0.0.1:9" in caught.value.message
