"""Processes killed in the middle: what is lost, what is not, and how soon it goes on.

Chat must come through whole and once, whatever dies. Live pictures may be lost, but each one is
counted, and the stream goes on at a key frame.
"""

from __future__ import annotations

import itertools
import re
import signal
import time
from collections.abc import Sequence

import pytest

from tests.e2e.stage import Lines, Message, Run, Stage, Values, balanced, wait_for
from wtp.publisher.outgoing import NO_SESSION, QUEUE, SESSION_LOST, STALE_GROUP

pytestmark = [pytest.mark.chaos, pytest.mark.e2e, pytest.mark.timeout(100)]

BACK_S = 2.0
"""Seconds from the router being ready again to the publisher sending again."""

SLOW = 15.0
"""Times longer that a machine busy with other tests may take."""

LEDGER = re.compile(
    r"^(?P<name>\S+)\s+(?P<offered>\d+) (?P<sign>!?=) (?P<delivered>\d+) delivered \+ "
    r"(?P<dropped>\d+) dropped \+ (?P<in_flight>\d+) in flight",
    re.MULTILINE,
)


def live(stage: Stage, *, wait: bool = True) -> Run:
    """Start a publisher of small test pictures and wait until it is live."""
    run = stage.child(
        "publish", "--source", "testsrc", "--size", "160x120", "--name", "cam", "--gop", "30"
    )
    if wait:
        run.event("ready")
    return run


def chat(stage: Stage, per_second: int = 100, first: int = 1) -> tuple[Run, Lines]:
    """Start a chat that says numbers."""
    run, lines = stage.typed("publish", "--chat", "--name", "ann")
    run.wait_for("publishing as ann")
    lines.begin(per_second, first)
    return run, lines


def both(stage: Stage) -> tuple[Run, Run, Lines]:
    """Start pictures and a chat at once; returns when both are live and the chat has begun."""
    pictures = live(stage, wait=False)
    talk, lines = chat(stage)
    pictures.event("ready")
    wait_for(lambda: lines.written > 50, "lines")
    wait_for(lambda: pictures_of(stage) > 5, "pictures")
    return pictures, talk, lines


def pictures_of(stage: Stage) -> int:
    """How many pictures the router has brought to the broker."""
    track = stage.stats().get("tracks", {}).get("default/cam/video", {})
    return int(track.get("delivered", 0))


def said(messages: Sequence[Message]) -> list[int]:
    """The numbers of a chat."""
    return [int(message.payload) for message in messages]


def ledger(run: Run) -> Values:
    """The ledger of the one track in a publisher's summary, as people read it."""
    match = LEDGER.search(run.stderr)
    assert match, run.report()
    assert match["sign"] == "=", run.report()
    return {name: int(match[name]) for name in ("offered", "delivered", "dropped", "in_flight")}


def check_chat(stage: Stage, run: Run, lines: Lines) -> None:
    """End a chat; everything it said is in the topic, once and in order."""
    time.sleep(0.3)
    count = lines.end()
    assert run.wait(60) == 0, run.report()
    messages = stage.read("chat", expect=count)
    assert said(messages) == list(range(1, count + 1))
    assert [message.seq for message in messages] == list(range(1, count + 1))
    books = ledger(run)
    assert books == {"offered": count, "delivered": count, "dropped": 0, "in_flight": 0}


def check_live(stage: Stage, run: Run, *reasons: str) -> None:
    """End a publisher of pictures; each loss is counted and is followed by a key frame."""
    summary = run.finish()
    track = summary["tracks"]["video"]
    assert balanced(track), track
    assert track["in_flight"] == 0
    dropped = {reason: count for reason, count in track["dropped"].items() if count}
    assert set(dropped) <= set(reasons), dropped
    messages = stage.read("video")
    assert messages[0].properties["key"] == "1"
    jumps = 0
    for before, after in itertools.pairwise(messages):
        assert after.seq > before.seq
        if after.seq != before.seq + 1:
            jumps += 1
            assert after.properties["key"] == "1", f"{before.seq} -> {after.seq}"
    assert jumps
    lost = track["offered"] - len(messages)
    assert lost > 0


def check_router(router: Run) -> Values:
    """End the router by SIGTERM; its books balance and nothing is in flight."""
    assert router.stop(signal.SIGTERM) == 0, router.report()
    summary = router.event("summary")
    objects: Values = summary["objects"]
    assert balanced(objects), objects
    assert objects["in_flight"] == 0, objects
    return objects


def test_router_killed(stage: Stage) -> None:
    stage.broker()
    router = stage.router()
    pictures, talk, lines = both(stage)

    stage.kill_hard(router)
    time.sleep(0.5)
    router = stage.router()
    began = time.monotonic()
    wait_for(lambda: stage.stats().get("sessions") == 2, "two sessions", 60.0)
    assert time.monotonic() - began < BACK_S * SLOW
    assert pictures.popen.poll() is None
    assert talk.popen.poll() is None
    wait_for(lambda: stage.stats()["objects"]["delivered"] > 60, "objects", 60.0)

    check_chat(stage, talk, lines)
    check_live(stage, pictures, "no-session", "session-lost", "stale-group", "queue")
    check_router(router)


def test_broker_killed(stage: Stage) -> None:
    broker = stage.broker()
    router = stage.router()
    pictures, talk, lines = both(stage)

    stage.kill_hard(broker)
    router.wait_for(f"No broker at {stage.broker_url}")
    wait_for(lambda: stage.stats().get("connected") is False, "a router that noticed", 60.0)
    drops = wait_for(lambda: drops_of(stage, "default/cam/video"), "counted drops", 60.0)
    assert drops
    before = stage.stats()["objects"]["delivered"]
    stage.broker()
    began = time.monotonic()
    wait_for(lambda: stage.stats().get("connected"), "a router that came back", 60.0)
    wait_for(lambda: stage.stats()["objects"]["delivered"] > before + 60, "objects", 60.0)
    assert time.monotonic() - began < 60.0
    assert stage.stats()["sessions"] == 2

    check_chat(stage, talk, lines)
    track = pictures.finish()["tracks"]["video"]
    assert balanced(track)
    # The router took all that came: the loss is its own.
    assert not {SESSION_LOST, NO_SESSION} & {why for why, n in track["dropped"].items() if n}, track
    messages = stage.read("video")
    objects = check_router(router)
    assert objects["offered"] == track["delivered"] + lines.written
    assert sum(objects["dropped"].values()) > 0
    for before_it, after in itertools.pairwise(messages):
        if after.seq > before_it.seq + 1:
            assert after.properties["key"] == "1", f"{before_it.seq} -> {after.seq}"


def drops_of(stage: Stage, track: str) -> int:
    """How many objects of a track the router has dropped."""
    tracks = stage.stats().get("tracks", {})
    return sum(tracks[track]["dropped"].values()) if track in tracks else 0


def test_no_broker_at_the_start(stage: Stage) -> None:
    router = stage.router()
    pictures = live(stage)
    talk, lines = stage.typed("publish", "--chat", "--name", "ann", "--wait")
    lines.write([str(number) for number in range(1, 101)])
    wait_for(lambda: drops_of(stage, "default/cam/video") > 5, "counted drops")
    assert talk.popen.poll() is None

    stage.broker()
    wait_for(lambda: stage.stats().get("connected"), "a router that found the broker", 60.0)
    wait_for(lambda: stage.stats()["objects"]["delivered"] > 130, "objects", 60.0)
    check_chat(stage, talk, lines)
    track = pictures.finish()["tracks"]["video"]
    assert balanced(track)
    messages = stage.read("video")
    assert messages[0].properties["key"] == "1"
    check_router(router)


def test_publisher_killed_and_started_again_under_its_name(stage: Stage) -> None:
    stage.broker()
    router = stage.router()
    fifo = stage.folder / "lines"
    fifo.write_text("".join(f"{number}\n" for number in range(1, 20_001)))
    first = stage.child("publish", "--data", str(fifo), "--lines", "--name", "ann")
    at = first.until(lambda one: one.get("tracks", {}).get("data", {}).get("delivered"), "receipts")
    stage.kill_hard(first)
    receipted = max(
        one["tracks"]["data"]["delivered"]
        for one in first.events()
        if one["event"] == "status" and "data" in one["tracks"]
    )
    assert receipted >= at["tracks"]["data"]["delivered"]

    began = time.monotonic()
    talk, lines = stage.typed("publish", "--data", "-", "--lines", "--name", "ann")
    lines.write([f"again {number}" for number in range(1, 51)])
    lines.end()
    assert talk.wait(60) == 0, talk.report()
    assert time.monotonic() - began < 8.0 * SLOW

    messages = stage.read("data")
    texts = [message.payload.decode() for message in messages]
    kept = len(texts) - 50
    assert kept >= receipted
    assert texts[:kept] == [str(number) for number in range(1, kept + 1)]
    assert texts[kept:] == [f"again {number}" for number in range(1, 51)]
    assert [message.seq for message in messages] == [*range(1, kept + 1), *range(1, 51)]
    assert len({message.properties["instance"] for message in messages[:kept]}) == 1
    assert len({message.properties["instance"] for message in messages}) == 2
    check_router(router)


def test_router_killed_with_the_broker_it_started(stage: Stage) -> None:
    router = stage.router("--start-broker")
    talk, lines = stage.typed("publish", "--chat", "--name", "ann")
    lines.write([str(number) for number in range(1, 101)])
    lines.end()
    assert talk.wait(60) == 0, talk.report()
    assert len(stage.alive()) == 2
    stage.kill_hard(router)
    wait_for(lambda: not stage.alive(), "an end of the broker", 60.0)

    router = stage.router("--start-broker")
    assert said(stage.read("chat", expect=100)) == list(range(1, 101))
    check_router(router)
    wait_for(lambda: not stage.alive(), "an end of the broker", 60.0)


def test_sigterm_drains_everything(stage: Stage) -> None:
    broker = stage.broker()
    router = stage.router()
    pictures = live(stage)
    reader = stage.child("consume", "video")
    reader.event("ready")
    talk, lines = chat(stage)
    wait_for(lambda: lines.written > 30, "lines")
    time.sleep(0.5)

    assert pictures.stop(signal.SIGTERM) == 0, pictures.report()
    track = pictures.event("summary")["tracks"]["video"]
    assert balanced(track)
    assert not track["in_flight"]
    dropped = {why: n for why, n in track["dropped"].items() if n}
    assert set(dropped) <= {QUEUE, STALE_GROUP}, "what a busy machine takes"
    lines.end()
    assert talk.wait(60) == 0
    count = lines.written
    assert reader.stop(signal.SIGTERM) == 0
    assert reader.event("summary")["gaps"] <= sum(dropped.values())
    check_router(router)
    assert said(stage.read("chat")) == list(range(1, count + 1))
    assert broker.stop(signal.SIGTERM) == 0


def test_a_leaving_router_tells_its_publishers(stage: Stage) -> None:
    stage.broker()
    router = stage.router()
    pictures, talk, lines = both(stage)
    check_router(router)
    router = stage.router()
    wait_for(lambda: stage.stats().get("sessions") == 2, "two sessions", 60.0)
    wait_for(lambda: stage.stats()["objects"]["delivered"] > 60, "objects", 60.0)
    check_chat(stage, talk, lines)
    summary = pictures.finish()
    track = summary["tracks"]["video"]
    assert balanced(track)
    assert set(track["dropped"]) - {"no-session"} == set() or not any(
        count for reason, count in track["dropped"].items() if reason != "no-session"
    ), track
    check_router(router)


INTERRUPTED = 130
"""What a shell sees after Ctrl-C."""


@pytest.mark.parametrize(
    ("after_s", "number", "codes"),
    [
        (0.35, signal.SIGINT, {INTERRUPTED, -signal.SIGINT}),
        (0.7, signal.SIGINT, {INTERRUPTED, -signal.SIGINT}),
        (0.7, signal.SIGTERM, {0, -signal.SIGTERM}),
    ],
)
def test_ended_while_starting(
    stage: Stage, after_s: float, number: signal.Signals, codes: set[int]
) -> None:
    commands = [
        ["router"],
        ["broker"],
        ["publish", "--source", "testsrc", "--wait"],
        ["consume", "video", "--wait"],
        ["demo"],
    ]
    runs = [stage.command(*words) for words in commands]
    time.sleep(after_s)
    for run in runs:
        run.popen.send_signal(number)
    for run in runs:
        assert run.wait(60) in codes, run.report()
    wait_for(lambda: not stage.alive(), "an end of all processes", 60.0)


def test_ctrl_c_while_running(stage: Stage) -> None:
    broker = stage.command("broker")
    broker.wait_for(str(stage.broker_port))
    router = stage.command("router")
    router.wait_for(str(stage.router_port))
    picture = stage.command("publish", "--source", "testsrc", "--size", "160x120")
    picture.wait_for("publishing as")
    reader = stage.command("consume", "video", "--wait", "-o", "jsonl")
    wait_for(lambda: reader.stdout.count("\n") > 10, "lines of the reader")
    for run in (reader, picture, router, broker):
        assert run.stop(signal.SIGINT) == INTERRUPTED, run.report()
        assert "Traceback" not in run.stderr
    wait_for(lambda: not stage.alive(), "an end of all processes", 60.0)
