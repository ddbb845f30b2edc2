"""Router, processors and workers as real processes: reload, kills, the path of an object."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stage import Run, Stage, balanced, stage_in, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

MARKING = """
def process(text: str):
    return text + " MARK"
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with stage_in(tmp_path) as made:
        yield made


def marking(stage: Stage, word: str, mode: str = "--return", port: str = "0") -> Run:
    """An HTTP processor that puts a word behind each line, and where the lines go then."""
    file = stage.folder / f"{word}.py"
    file.write_text(MARKING.replace("MARK", word))
    run = stage.child(
        *("processor", "chat", "--code", str(file), mode, "--listen", f"127.0.0.1:{port}")
    )
    return run


def profile(stage: Stage, text: str) -> Path:
    path = stage.folder / "mine.yaml"
    path.write_text("rooms: {create: true}\n" + text)
    return path


def serving(url: str) -> str:
    service = f"services:\n  chat:\n    url: {url}\n    timeout: 2.0\n"
    return service + "service_defaults:\n  breaker_s: 0.3\n"


def texts(stage: Stage, count: int) -> list[str]:
    return [one.payload.decode() for one in stage.read("chat", expect=count)]


def test_reload_good_and_broken_loses_no_line(stage: Stage) -> None:
    stage.broker()
    one, two = marking(stage, "one"), marking(stage, "two")
    urls = [run.event("ready")["url"] for run in (one, two)]
    path = profile(stage, serving(urls[0]))
    router = stage.router("--profile", str(path))
    publisher, lines = stage.typed("publish", "--chat", "--name", "me")
    lines.begin(per_second=25)
    wait_for(
        lambda: len(texts(stage, 0)) > 20,
        lambda: router.report() + publisher.report() + str(stage.stats()),
    )
    path.write_text(path.read_text() + "  nonsense: 1\n")
    wait_for(lambda: "line 8: service_defaults.nonsense" in router.stderr, router.report)
    assert "The last good configuration stays in use." in router.stderr
    path.write_text("rooms: {create: true}\n" + serving(urls[1]))
    wait_for(lambda: f"{urls[0]} -> {urls[1]}" in router.stderr, router.report)
    wait_for(lambda: any(t.endswith(" two") for t in texts(stage, 0)), "lines of the second")
    path.write_text("rooms: {create: true}\n")
    wait_for(lambda: texts(stage, 0)[-1].isdigit(), "lines without a processor")
    written = lines.end()
    assert publisher.wait(60) == 0, publisher.report()
    got = texts(stage, written)
    assert [int(text.split()[0]) for text in got] == list(range(1, written + 1))
    words = [text.partition(" ")[2] for text in got]
    changes = [word for i, word in enumerate(words) if not i or words[i - 1] != word]
    assert changes == ["one", "two", ""]
    health = stage.stats()
    assert health["profile"]["loaded"] == 2
    assert balanced(health["services"]["chat"])
    assert balanced(health["objects"])


@pytest.mark.parametrize("mode", ["--return", "--send-to-pulsar"])
def test_a_killed_processor_holds_lines_and_loses_none(stage: Stage, mode: str) -> None:
    stage.broker()
    first = marking(stage, "one", mode)
    url = first.event("ready")["url"]
    port = url.rsplit(":", 1)[1].split("/")[0]
    router = stage.router("--profile", str(profile(stage, serving(url))))
    publisher, lines = stage.typed("publish", "--chat", "--name", "me")
    lines.begin(per_second=25)
    wait_for(lambda: len(texts(stage, 0)) > 20, "the first lines")
    stage.kill_hard(first)
    wait_for(lambda: "gets nothing for now" in router.stderr, router.report)
    before = len(texts(stage, 0))
    marking(stage, "one", mode, port).event("ready")
    wait_for(lambda: len(texts(stage, 0)) > before + 20, "lines after the kill")
    written = lines.end()
    assert publisher.wait(60) == 0, publisher.report()
    got = texts(stage, written)
    assert got == [f"{number} one" for number in range(1, written + 1)]
    assert stage.stats()["objects"]["dropped"] == {}
    assert "answers again" in router.stderr


def test_pictures_go_through_and_events_beside_them(stage: Stage) -> None:
    stage.broker()
    (stage.folder / "both.py").write_text(
        "from wtp.processor import Object\n\n\n"
        "def process(obj: Object):\n    return [obj, {'seq': obj.seq}]\n"
    )
    processor = stage.child(
        *("processor", "video", "--code", str(stage.folder / "both.py"), "--return"),
        *("--listen", "127.0.0.1:0"),
    )
    text = f"services:\n  video:\n    url: {processor.event('ready')['url']}\n"
    stage.router("--profile", str(profile(stage, text)))
    publisher = stage.command(
        *("publish", "--source", "testsrc", "--size", "160x120", "--fps", "10"),
        *("--name", "me", "--duration", "4"),
    )
    assert publisher.wait(60) == 0, publisher.report()
    wait_for(lambda: not stage.stats()["tracks"], "the end of the tracks")
    total = stage.stats()["objects"]
    assert balanced(total)
    pictures, events = stage.read("video"), stage.read("data")
    assert len(pictures) + len(events) == total["delivered"]
    assert len(pictures) > 10
    assert [e.payload for e in events] == [b'{"seq":%d}' % p.seq for p in pictures]
    assert {one.key for one in pictures} == {"default/me/video"}
    assert {one.key for one in events} == {"default/me/video-both"}
    assert [one.capture_us for one in events] == [one.capture_us for one in pictures]


def busy(worker: Run) -> bool:
    """Whether a worker has the track, and has published some of it."""
    objects = worker.last.get("objects") or {}
    return bool(objects.get("delivered", 0) > 20)


def test_killed_workers_give_their_tracks_to_others(stage: Stage) -> None:
    stage.broker()
    stage.router("--profile", str(profile(stage, "")))
    publisher, lines = stage.typed("publish", "--chat", "--name", "me")
    lines.begin(per_second=60)
    wait_for(lambda: stage.stats().get("tracks"), "the track")
    (stage.folder / "slow.py").write_text(
        "import time\n\n\ndef process(text: str):\n    time.sleep(0.001)\n    return text\n"
    )
    command = ("processor", "chat", "--from-topic", "--code", str(stage.folder / "slow.py"))
    workers = [stage.child(*command) for _ in range(2)]
    for worker in workers:
        worker.event("ready")
    for _ in range(2):
        victim = wait_for(
            lambda: next(filter(busy, workers), None), lambda: workers[0].report()[-3000:], 20
        )
        stage.kill_hard(victim)
        workers.remove(victim)
        workers.append(stage.child(*command))
        workers[-1].event("ready")
    written = lines.end()
    assert publisher.wait(60) == 0, publisher.report()
    wait_for(lambda: len(stage.read("chat-slow", expect=written)) >= written, "the rest", 60.0)
    got = stage.read("chat-slow")
    assert [int(one.payload) for one in got] == list(range(1, written + 1))
    assert {one.properties["processor"] for one in got} == {"slow"}
    for worker in workers:
        assert balanced(worker.finish()["objects"])
