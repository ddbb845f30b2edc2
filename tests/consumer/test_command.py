from __future__ import annotations

from pathlib import Path

import pytest

from wtp.cli.consume import Start, Where
from wtp.cli.group import invoke
from wtp.cli.reading import Format
from wtp.config.schema import Settings, WatchSettings
from wtp.consumer.containers import Framed
from wtp.model import Kind

DOWN = ("--broker", "pulsar://127.0.0.1:9", "--admin", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "What is to be read?"),
        (["smoke"], "smoke"),
        (["video", "--type", "shared"], "--type is about a subscription"),
        (["video", "--raw", "-", "--save", "x"], "--raw and --save do not go together"),
        (["video", "-o", "jsonl", "--window"], "-o jsonl and --window do not go together"),
        (["video", "-o", "json", "--raw", "-"], "cannot both go to standard output"),
        (["chat", "--preview"], "chat has no pictures"),
        (["video", "--topic", "http://x/y"], "unknown domain"),
        (["video", "--cert-hash", "zz", "--router", "https://h/wt"], "64 hexadecimal digits"),
        (["video", "--router", "host:1"], "no router URL"),
        (["video", "--count", "-1"], "--count"),
        (["video", "--from", "yesterday"], "yesterday"),
        (["video", "--play"], "video has no sound"),
        (["audio", "--play", "--raw", "-"], "--raw and --play do not go together"),
        (["video", "--mux", "mpegts"], "Leave out video"),
        (["--mux", "avi"], "avi"),
        (["--mux", "mpegts", "--save", "x"], "--save and --mux do not go together"),
        (["--mux", "mpegts", "-o", "json"], "cannot both go to standard output"),
        (["chat", "--history", "0"], "--history"),
        (["chat", "--history", "5", "--from", "earliest"], "--history and --from earliest"),
        (["chat", "--history", "5", "--subscription", "s"], "--history and --subscription"),
    ],
)
def test_what_makes_no_sense_is_said(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], clean_home: Path
) -> None:
    assert invoke(["consume", *words, *DOWN]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_a_broker_that_is_down_is_exit_3(
    capsys: pytest.CaptureFixture[str], clean_home: Path
) -> None:
    assert invoke(["consume", "video", *DOWN]) == 3
    error = capsys.readouterr().err
    assert "No broker answers at pulsar://127.0.0.1:9" in error
    assert "wtp broker" in error


def test_a_file_that_exists_is_refused_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clean_home: Path
) -> None:
    path = tmp_path / "out.h264"
    path.write_bytes(b"old")
    assert invoke(["consume", "video", "--raw", str(path), *DOWN]) == 2
    assert "already there" in capsys.readouterr().err
    assert path.read_bytes() == b"old"


def test_files_are_put_together_from_the_first_part_on(tmp_path: Path) -> None:
    from wtp.consumer.files import Receive
    from wtp.consumer.save import Save

    options = (Format.TABLE, "", tmp_path / "in", False, False, False)
    where = Where((Kind.FILE,), *options)
    assert where.start is Start.EARLIEST
    output = where.output(Settings(), str, child=False, files=2)
    assert isinstance(output, Receive)
    where = Where((Kind.DATA,), *options)
    assert where.start is Start.LATEST
    assert isinstance(where.output(Settings(), str, child=False, files=2), Save)


def test_sound_is_played_as_the_settings_say() -> None:
    from wtp.consumer.sound import Play

    where = Where((Kind.AUDIO,), Format.TABLE, "", None, False, False, False, play=True)
    output = where.output(Settings(watch=WatchSettings(delay=80)), str, child=False, files=0)
    assert isinstance(output, Play)
    assert output.settings.delay == 80


@pytest.mark.parametrize(
    ("kind", "framed"), [(Kind.VIDEO, True), (Kind.AUDIO, True), (Kind.CHAT, False), (None, True)]
)
def test_media_goes_to_a_pipe_as_players_open_it(kind: Kind | None, framed: bool) -> None:
    where = Where((kind,) if kind else (), Format.TABLE, "-", None, False, False, False)
    output = where.output(Settings(), str, child=False, files=0)
    assert isinstance(output, Framed) == framed


def test_pictures_and_sound_together_need_a_broker_too(
    capsys: pytest.CaptureFixture[str], clean_home: Path
) -> None:
    assert invoke(["consume", "--mux", "mpegts", *DOWN]) == 3
    assert "No broker answers at pulsar://127.0.0.1:9" in capsys.readouterr().err
