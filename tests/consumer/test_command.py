from __future__ import annotations

from pathlib import Path

import pytest

from wtp.cli.group import invoke

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
