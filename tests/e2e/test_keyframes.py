"""Key frames when they are needed, whatever the GOP: asked for, after drops, after breaks."""

from __future__ import annotations

import json
import os
import signal
import ssl
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Self

import pulsar
import pytest

from tests.e2e.stage import Run, Stage, Values, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


def ask(stage: Stage, track: str) -> tuple[int, str, Values]:
    """POST; status, Retry-After and the answer."""
    context = ssl.create_default_context(cafile=str(stage.home / "certs" / "wtp.crt"))
    url = f"https://127.0.0.1:{stage.router_port}/rooms/default/tracks/{track}/keyframe"
    call = urllib.request.Request(url, method="POST")
    try:
        with urllib.request.urlopen(call, context=context, timeout=5) as answer:
            return answer.status, "", json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Retry-After", ""), json.load(error)


class Keys:
    """Reads the topic of the pictures along and notes its key frames."""

    def __init__(self, stage: Stage) -> None:
        logger = pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull)
        self.seqs: list[int] = []
        self._client = pulsar.Client(stage.broker_url, logger=logger)
        self._reader = self._client.create_reader(
            "persistent://public/default/video", pulsar.MessageId.earliest
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def read(self) -> int:
        """Take what has come; how many key frames there were so far."""
        with suppress(pulsar.Timeout):
            while True:
                properties = self._reader.read_next(timeout_millis=20).properties()
                if properties["key"] == "1":
                    self.seqs.append(int(properties["seq"]))
        return len(self.seqs)


def track(stage: Stage) -> Values:
    """The router's figures of the one track."""
    return dict(stage.stats()["tracks"]["default/cam/video"])


def test_a_key_frame_comes_when_asked_for_when_dropped_and_when_reconnected(stage: Stage) -> None:
    broker = stage.broker()
    router = stage.router()
    publisher = stage.child(
        "publish", "--source", "testsrc", "--size", "160x120", "--gop", "600", "--name", "cam"
    )
    publisher.event("ready")
    with Keys(stage) as keys:
        _follow(stage, broker, router, keys)
    shown = publisher.last["tracks"]["video"]
    assert shown["every_nth"] >= 1
    assert shown["target_bitrate_bps"] > 0


def _follow(stage: Stage, broker: Run, router: Run, keys: Keys) -> None:
    wait_for(keys.read, "the first picture")
    assert keys.seqs == [1]

    assert ask(stage, "cam/video")[0] == 202
    status, retry, answer = ask(stage, "cam%2Fvideo")
    assert (status, retry) == (429, "1")
    assert 0 < answer["retry_after_s"] <= 0.5
    wait_for(lambda: keys.read() == 2, "the key frame that was asked for")
    wait_for(lambda: ask(stage, "video")[0] == 202, "its turn")
    status, _, answer = ask(stage, "nobody/video")
    assert status == 404
    assert "cam/video" in answer["message"]
    wait_for(lambda: keys.read() == 3, "the second one")
    assert track(stage)["key_requests"] == 2

    broker.popen.send_signal(signal.SIGSTOP)
    wait_for(lambda: track(stage)["dropped"], "a drop at the router")
    broker.popen.send_signal(signal.SIGCONT)
    wait_for(lambda: keys.read() >= 4, "a key frame after the router's drop")
    assert track(stage)["key_requests"] > 2
    before = keys.read()

    stage.kill_hard(router)
    stage.router()
    wait_for(lambda: keys.read() > before, "a key frame in the new session")
