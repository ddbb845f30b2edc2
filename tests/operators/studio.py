"""Rooms that are tenants, with partitioned topics: the same on every broker."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.e2e.stage import Stage
from tests.processes import Process
from wtp.broker.connect import administer, connect
from wtp.config.schema import BrokerSettings

LINES = [f"line {number}" for number in range(1, 201)]

STUDIO = """
rooms: {create: true}
topics:
  template: "persistent://{room}/live/{kind}"
  partitions: 3
"""
"""A profile in which every room is a tenant and every topic has three partitions."""


def publish(stage: Stage, *args: str, env: Mapping[str, str] | None = None) -> Process:
    """Begin to publish all lines as a chat."""
    text = "".join(f"{line}\n" for line in LINES).encode()
    return stage.command("publish", "--chat", *args, stdin=text, env=env)


async def check_rooms_as_tenants(stage: Stage, settings: BrokerSettings) -> None:
    """Publish four chats at once into a room that nobody made, and read them back in order."""
    profile = stage.folder / "studio.yaml"
    profile.write_text(STUDIO)
    studio = {"WTP_PROFILE": str(profile)}
    stage.router(env=studio)
    names = ("ann", "bob", "cat", "dan")
    for run in [publish(stage, "--name", name, "--wait", env=studio) for name in names]:
        assert run.wait(60) == 0, run.report()
    room = stage.env["WTP_ROOM"]
    topic = f"persistent://{room}/live/chat"
    async with administer(settings) as admin:
        assert await admin.partitions(topic) == 3
        assert (await admin.policies(f"{room}/live")).deduplication
    read = stage.command(
        "consume", "chat", "--from", "earliest", "-n", str(4 * len(LINES)), "-o", "jsonl",
        env=studio,
    )  # fmt: skip
    assert read.wait(60) == 0, read.report()
    seqs: dict[str, list[int]] = {}
    for line in read.stdout.splitlines():
        one = json.loads(line)
        seqs.setdefault(one["track"], []).append(one["seq"])
    wanted = list(range(1, len(LINES) + 1))
    assert seqs == {f"{room}/{name}/chat": wanted for name in names}
    client = connect(settings)
    places: set[tuple[str, str]] = set()
    try:
        for part in await client.partitions(topic):
            places.update((one.key, part) for one in await client.history(part))
        assert len(places) == len(names)  # each track in one partition
    finally:
        await client.close()
