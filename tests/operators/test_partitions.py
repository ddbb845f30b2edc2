"""What a router does about partitions, and what it says when it cannot."""

from __future__ import annotations

from typing import Any, cast

import pytest

from wtp.broker.topics import Admin
from wtp.clock import Clock
from wtp.config.load import override
from wtp.config.schema import Settings
from wtp.errors import BrokerUnavailable, Refused, WtpError
from wtp.router.link import BrokerLink
from wtp.router.rooms import Rooms

TOPIC = "persistent://public/r/chat"


class FakeAdmin:
    """Answers `ensure_topic` with what stands in a list, errors included."""

    def __init__(self, *answers: int | WtpError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def ensure_topic(self, topic: str, partitions: int = 0) -> int:
        self.asked.append((topic, partitions))
        answer = self.answers.pop(0)
        if isinstance(answer, WtpError):
            raise answer
        return answer


def rooms_with(admin: FakeAdmin, partitions: int) -> Rooms:
    settings = override(Settings(), {"topics.partitions": partitions})
    link, spawn = cast(BrokerLink, None), cast(Any, None)
    return Rooms(settings, Clock(), link, cast(Admin, admin), spawn)


async def test_without_partitions_topics_come_by_themselves() -> None:
    admin = FakeAdmin()
    await rooms_with(admin, 0)._partition(TOPIC)
    assert not admin.asked


async def test_a_topic_is_made_once() -> None:
    admin = FakeAdmin(3)
    rooms = rooms_with(admin, 3)
    for _ in range(3):
        await rooms._partition(TOPIC)
    assert admin.asked == [(TOPIC, 3)]
    assert not rooms.notes


async def test_another_number_is_noted() -> None:
    rooms = rooms_with(FakeAdmin(0), 3)
    await rooms._partition(TOPIC)
    assert rooms.notes == {TOPIC: "it has 0 partitions, not 3 as the profile says"}


@pytest.mark.parametrize("error", [BrokerUnavailable("It is away."), Refused("You may not.")])
async def test_a_topic_that_could_not_be_made_is_tried_again(error: WtpError) -> None:
    admin = FakeAdmin(error, 3)
    rooms = rooms_with(admin, 3)
    await rooms._partition(TOPIC)
    assert rooms.notes == {TOPIC: f"partitions unknown: {error.message}"}
    await rooms._partition(TOPIC)
    assert not rooms.notes
