"""Recordings, golden replay, templates and speed: the tools around user code."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.processor.parcels import code, parcel
from wtp.consumer.item import Item
from wtp.consumer.output import json_line
from wtp.consumer.save import Save
from wtp.errors import UsageError
from wtp.model import Kind
from wtp.processor import golden, measure
from wtp.processor.code import CodeSpec
from wtp.processor.isolate import make_runner
from wtp.processor.recorded import read_recorded
from wtp.processor.template import write
from wtp.ui.processor import compared, speed
from wtp.wire.process import Parcel, encode_one


class Message:
    def __init__(self, one: Parcel) -> None:
        self.topic = "persistent://public/default/x"
        self.key = one.track
        self.properties = one.properties
        self.payload = one.payload
        self.publish_ms = self.event_ms = self.receive_monotonic_us = 0
        self.position = "0:0"
        self.redeliveries = 0


def item(one: Parcel) -> Item:
    obj = one.object()
    message: object = Message(one)
    return Item(message, one.track, obj.kind, obj, "", "run1", True, None, None)  # type: ignore[arg-type]  # what is used of it


def save(folder: Path, objects: list[Parcel]) -> None:
    sink = Save(folder)
    sink.open()
    assert sink.take([item(one) for one in objects]) == [""] * len(objects)
    sink.close()


@pytest.mark.parametrize("kind", [Kind.VIDEO, Kind.AUDIO, Kind.DATA, Kind.CHAT])
def test_what_consume_saved_comes_back(tmp_path: Path, kind: Kind) -> None:
    objects = measure.sample(kind)[:20]
    save(tmp_path / "rec", objects)
    back = read_recorded(tmp_path / "rec", kind)
    assert [one.payload for one in back] == [one.payload for one in objects]
    assert [one.object().seq for one in back] == [one.object().seq for one in objects]
    assert [one.object().key for one in back] == [one.object().key for one in objects]
    assert {one.properties["content_type"] for one in back} == {
        one.properties["content_type"] for one in objects
    }


def test_saved_pictures_come_back(tmp_path: Path) -> None:
    objects = [parcel(b"\xff\xd8%d" % n, Kind.VIDEO, n) for n in (1, 2, 3)]
    save(tmp_path / "rec", objects)
    back = read_recorded(tmp_path / "rec", Kind.VIDEO)
    assert [(o.payload, o.object().seq, o.object().capture_us) for o in back] == [
        (o.payload, o.object().seq, o.object().capture_us) for o in objects
    ]


def test_lines_of_both_forms_come_back(tmp_path: Path) -> None:
    chat, other = parcel("hä".encode(), author="me"), parcel(b"x", Kind.DATA)
    lines = [json_line(item(chat)), "", encode_one(chat, "json")[1].decode()]
    lines.append(encode_one(other, "json")[1].decode())
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join(lines))
    told, asked = read_recorded(file, Kind.CHAT)
    assert asked == chat
    assert told.payload == chat.payload
    assert told.object().attributes == {"author": "me"}
    assert read_recorded(file, Kind.DATA) == [other]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"kind": "chat"}', '{"properties": 3}', '{"kind": "x", "seq": 1}']
)
def test_what_is_no_recording_is_told_with_its_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError, match="line 1 is no object" if text else "holds no chat"):
        read_recorded(file, Kind.CHAT)
    with pytest.raises(UsageError, match="no recording"):
        read_recorded(tmp_path / "nowhere", Kind.CHAT)


async def lines_of(spec: CodeSpec, objects: list[Parcel]) -> list[dict[str, object]]:
    runner = make_runner(spec, Kind.CHAT)
    await runner.start()
    try:
        return await golden.replay(runner, objects)
    finally:
        await runner.close()


async def test_golden_replay_finds_what_changed(tmp_path: Path) -> None:
    objects = [parcel(b"line %d" % n, seq=n) for n in range(1, 5)]
    spec = code(tmp_path, "def process(text: str): return text if text != 'line 3' else 1/0")
    file = golden.golden_file(spec)
    assert file == tmp_path / "mine.golden.jsonl"
    before = await lines_of(spec, objects)
    with pytest.raises(UsageError, match="no golden file"):
        golden.compare(file, before)
    assert golden.update(file, before).updated
    same = golden.compare(file, await lines_of(spec, objects))
    assert (same.objects, same.made, same.failed, same.count) == (4, 3, 1, 0)
    assert "as in" in compared({**asdict(same), "golden": str(file)})
    code(tmp_path, "def process(text: str): return text.upper() if '2' in text else None")
    changed = golden.compare(file, await lines_of(spec, objects[:3]))
    assert changed.count == 4
    assert changed.differences[0] == "object 1 of default/me/chat: line 1 became nothing"
    assert "line 2 became LINE 2" in changed.differences[1]
    assert "exception (mine failed: ZeroDivisionError" in changed.differences[2]
    assert "4 objects are in the golden file, 3 were replayed" in changed.differences[3]


def test_a_damaged_golden_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "g"
    file.write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        golden.compare(file, [])


@pytest.mark.parametrize("kind", [Kind.SCREEN, Kind.AUDIO, Kind.CHAT, Kind.FILE])
async def test_templates_run_and_their_tests_pass(
    tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, test = write(tmp_path / f"wtp_new_{kind}.py", kind)
    with pytest.raises(UsageError, match="exists already"):
        write(file, kind)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = vars(importlib.import_module(test.stem))
    tests = [found for name, found in module.items() if name.startswith("test_")]
    assert tests
    for function in tests:
        function()
    runner = make_runner(CodeSpec.parse(str(file)), kind)
    await runner.start()
    try:
        made = await runner.process(measure.sample(kind)[0])
    finally:
        await runner.close()
    assert [one.object().kind for one in made.parcels] in ([], [kind], [Kind.DATA])


@pytest.mark.parametrize("name", ["my-code.py", "code.txt", "1.py"])
def test_names_that_python_cannot_import_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        write(tmp_path / name, Kind.CHAT)


async def test_speed_is_measured_beside_a_pass_through(tmp_path: Path) -> None:
    spec = code(tmp_path, "import time\ndef process(obj): time.sleep(0.005); return obj")
    figures = await measure.run(spec, Kind.CHAT, measure.sample(Kind.CHAT), 0.3, workers=2)
    assert figures["code"]["p50_ms"] > 5 > figures["pass_through"]["p50_ms"]
    assert figures["code"]["objects_per_s"] < figures["pass_through"]["objects_per_s"]
    assert figures["code"]["failed"] == 0
    assert json.loads(json.dumps(figures)) == figures
    assert speed(figures).row_count == 2
