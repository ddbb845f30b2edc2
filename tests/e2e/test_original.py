"""The original platform's topics: filled by a plain Pulsar producer, read by wtp."""

from __future__ import annotations

import json
import os
import re
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pulsar
import pytest

from tests.e2e.stage import Stage, stage_in
from tests.processes import Process
from wtp.consumer.item import PUBLISH_TO_RECEIVE

pytestmark = pytest.mark.e2e

CAME: dict[str, list[bytes]] = {
    "video": [b"\xff\xd8\xff\xe0" + os.urandom(20_000) + b"\xff\xd9" for _ in range(8)],
    "screen": [b"\0\0\0\1" + os.urandom(5_000) for _ in range(8)],
    "audio": [os.urandom(640) for _ in range(8)],
    "chat": [f"message {number}: grüße".encode() for number in range(8)],
}
"""What the original platform left in a topic of each kind: bare payloads."""

ENDINGS = {"screen": ".h264", "audio": ".bin", "chat": ".txt"}

TIMED = {"data": [0, 20, 40, 60], "file": [10, 30, 50, 70]}
"""Further topics, of producers that set event times: ms after `TIMED_MS`."""

TIMED_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """A broker with a room of its own.

    Attributes:
        stage: Runs commands.
        url: The broker.
        room: The room.
    """

    stage: Stage
    url: str
    room: str

    def topic(self, kind: str) -> str:
        return f"persistent://public/{self.room}/{kind}-topic"

    def consume(self, *args: str) -> Process:
        return self.stage.command("consume", *args, "--room", self.room)

    def replay(self, *args: str) -> Process:
        return self.stage.command("replay", *args, "--speed", "max", "--room", self.room)

    def send(self, topic: str, payloads: Sequence[bytes], events_ms: Sequence[int] = ()) -> None:
        """Send as the original platform did: one plain message each, nothing beside.

        Args:
            topic: Where to.
            payloads: What.
            events_ms: Their event times, Unix ms; default: none.
        """
        client = pulsar.Client(
            self.url, logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)
        )
        try:
            producer = client.create_producer(topic)
            for payload, event_ms in zip_longest(payloads, events_ms):
                producer.send(payload, event_timestamp=event_ms)
            producer.close()
        finally:
            client.close()


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.pulsar)])
def place(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """Topics of every kind with eight messages, in the embedded broker or a real Pulsar."""
    with stage_in(tmp_path_factory.mktemp(request.param)) as stage:
        room = f"original-{uuid.uuid4().hex[:8]}"
        if request.param == "embedded":
            stage.broker()
        else:
            pulsar_ = request.getfixturevalue("real_pulsar")
            stage.broker_url = stage.env["WTP_BROKER"] = pulsar_.url
            stage.admin_url = stage.env["WTP_ADMIN"] = pulsar_.admin
        there = Place(stage, stage.broker_url, room)
        fill(there)
        yield there
        empty(there)


def fill(there: Place) -> None:
    """Publish everything."""
    made = there.stage.command("topics", "create", "marker", "--room", there.room)
    assert made.wait() == 0, made.report()
    for kind, payloads in CAME.items():
        there.send(there.topic(kind), payloads)
    for kind, after_ms in TIMED.items():
        payloads = [f"{kind} {after}".encode() for after in after_ms]
        there.send(there.topic(kind), payloads, [TIMED_MS + after for after in after_ms])


def empty(there: Place) -> None:
    """Delete everything."""
    for topic in (*map(there.topic, (*CAME, *TIMED)), "marker"):
        words = ("topics", "delete", topic, "--yes", "--force", "--room", there.room)
        there.stage.command(*words).wait()
    space = f"{there.stage.admin_url}/admin/v2/namespaces/public/{there.room}"
    with urllib.request.urlopen(urllib.request.Request(space, method="DELETE")) as answer:
        assert answer.status == 204


def ended(process: Process) -> Process:
    assert process.wait(60) == 0, process.report()
    return process


def check_saved(folder: Path, kind: str) -> None:
    """All of a kind lies in files named after its topic."""
    found = sorted(path for path in folder.iterdir() if path.suffix != ".jsonl")
    if kind == "video":
        assert [path.read_bytes() for path in found] == CAME[kind]
        form = re.compile(r"video-topic-[0-9]{16}-([0-9]{8})\.jpg")
        names = [form.fullmatch(path.name) for path in found]
        assert [int(name[1]) for name in names if name] == list(range(1, 9))
        return
    (saved,) = found
    assert saved.name == f"{kind}-topic{ENDINGS[kind]}"
    between = b"\n" if kind == "chat" else b""
    assert saved.read_bytes() == b"".join(payload + between for payload in CAME[kind])


@pytest.mark.parametrize("kind", CAME)
def test_payloads_come_out_byte_for_byte(place: Place, kind: str, tmp_path: Path) -> None:
    what = (kind, "--profile", "original", "--from", "earliest", "-n", "8")
    ended(place.consume(*what, "--raw", str(tmp_path / "raw")))
    assert (tmp_path / "raw").read_bytes() == b"".join(CAME[kind])
    ended(place.consume(*what, "--save", str(tmp_path / "saved")))
    check_saved(tmp_path / "saved", kind)


def test_a_topic_flag_does_what_the_profile_does(place: Place) -> None:
    lines = ended(
        place.consume(
            "chat", "--topic", "chat-topic", "--from", "earliest", "-n", "8", "-o", "jsonl"
        )
    ).stdout.splitlines()
    values = [json.loads(line) for line in lines]
    assert [one["text"].encode() for one in values] == CAME["chat"]
    for one in values:
        assert (one["kind"], one["content_type"], one["guessed"]) == ("chat", "text/plain", True)
        assert one["latency_us"] is None
        assert one[PUBLISH_TO_RECEIVE] is None  # it was there before
    shown = ended(
        place.consume("chat", "--topic", "chat-topic", "--from", "earliest", "-n", "8")
    ).stdout.splitlines()
    said = [line.partition(" ")[2] for line in shown]  # behind the time
    assert said == [f"unknown: {payload.decode()}" for payload in CAME["chat"]]


@pytest.mark.parametrize("form", ["table", "jsonl", "json"])
def test_live_the_age_is_labelled_and_the_latency_unknown(place: Place, form: str) -> None:
    reading = place.consume("video", "--profile", "original", "-n", "5", "-o", form)
    reading.wait_for("Reading ")
    # It joins at the last message; four more come.
    place.send(place.topic("video"), CAME["video"][:4])
    ended(reading)
    if form == "table":
        assert "5 not of wtp (latency unknown)" in reading.stderr
        (row,) = [line for line in reading.stderr.splitlines() if PUBLISH_TO_RECEIVE in line]
        assert row.removeprefix(PUBLISH_TO_RECEIVE).split()[0] == "4"
    elif form == "jsonl":
        values = [json.loads(line) for line in reading.stdout.splitlines()]
        assert values[0][PUBLISH_TO_RECEIVE] is None
        assert all(0 <= one[PUBLISH_TO_RECEIVE] < 60_000 for one in values[1:])
        assert {one["latency_us"] for one in values} == {None}
        assert {one["content_type"] for one in values} == {"image/jpeg"}
    else:
        latency = json.loads(reading.stdout)["latency"]
        assert latency["hops"][PUBLISH_TO_RECEIVE]["n"] == 4
        assert (latency["total"]["n"], latency["unknown"]) == (0, 4)


@pytest.mark.parametrize(
    "what",
    [("video", "--profile", "original"), ("--topic", "video-topic")],
    ids=["profile", "topic"],
)
def test_the_past_is_replayed(place: Place, what: Sequence[str], tmp_path: Path) -> None:
    what = (*what, "-n", "8")
    lines = ended(place.replay(*what, "-o", "jsonl")).stdout.splitlines()
    values = [json.loads(line) for line in lines]
    assert [one["size"] for one in values] == [len(payload) for payload in CAME["video"]]
    assert {(one["kind"], one["content_type"], one["guessed"]) for one in values} == {
        ("video", "image/jpeg", True)
    }
    assert [one["latency_us"] for one in values] == [None] * 8
    assert {one["placed_by"] for one in values} == {"publish"}
    assert [one["at_us"] for one in values] == [one["publish_ms"] * 1000 for one in values]
    ended(place.replay(*what, "--raw", str(tmp_path / "raw")))
    assert (tmp_path / "raw").read_bytes() == b"".join(CAME["video"])
    ended(place.replay(*what, "--save", str(tmp_path / "saved")))
    check_saved(tmp_path / "saved", "video")


def test_event_times_put_topics_in_step(place: Place, tmp_path: Path) -> None:
    what = ("data", "file", "--profile", "original")
    lines = ended(place.replay(*what, "-o", "jsonl")).stdout.splitlines()
    values = [json.loads(line) for line in lines]
    assert [one["at_us"] for one in values] == [
        (TIMED_MS + after_ms) * 1000 for after_ms in range(0, 80, 10)
    ]
    assert [one["text"] for one in values] == [
        f"{kind} {after_ms}"
        for after_ms, kind in zip(range(0, 80, 10), ["data", "file"] * 4, strict=True)
    ]
    assert {one["placed_by"] for one in values} == {"event"}
    ended(place.replay(*what, "--save", str(tmp_path / "saved")))
    for kind, after_ms in TIMED.items():
        saved = (tmp_path / "saved" / f"{kind}-topic.txt").read_text("utf-8")
        assert saved == "".join(f"{kind} {after}\n" for after in after_ms)


def test_its_topics_can_be_looked_at(place: Place) -> None:
    room = ("--room", place.room)
    looked = ended(
        place.stage.command("topics", "peek", "chat-topic", "-n", "2", "-o", "jsonl", *room)
    )
    values = [json.loads(line) for line in looked.stdout.splitlines()]
    assert [one["size_bytes"] for one in values] == [len(payload) for payload in CAME["chat"][-2:]]
    assert [one["properties"] for one in values] == [{}, {}]
    about = ended(
        place.stage.command("topics", "describe", "video", "--profile", "original", *room)
    )
    assert place.topic("video") in about.stdout
