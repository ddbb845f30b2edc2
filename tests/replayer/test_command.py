"""The command line of `wtp replay`, with no broker behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from wtp.cli.group import invoke

DOWN = ("--broker", "pulsar://127.0.0.1:9", "--admin", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["smoke"], "smoke"),
        (["--speed", "-2"], "is no speed"),
        (["--speed", "0"], "is no speed"),
        (["--speed", "fast"], "is no speed"),
        (["--from", "yesterday"], "is no time and no message"),
        (["--from", "-5m", "--to", "-10m"], "--to lies before --from"),
        (["--from", "12:7"], "A message id belongs to one topic"),
        (["--to", "earliest"], "no end"),
        (["--follow", "--to", "now"], "--follow has no end"),
        (["--raw", "-"], "--raw takes bytes of one kind"),
        (["video", "--raw", "-", "--save", "x"], "--raw and --save do not go together"),
        (["--into", "copy", "-o", "jsonl"], "-o jsonl and --into do not go together"),
        (["--into", "a b"], "room name 'a b' is not allowed"),
        (["--window"], "A window shows one kind"),
        (["audio", "--preview"], "audio has no pictures"),
        (["video", "-o", "json", "--raw", "-"], "cannot both go to standard output"),
        (["--topic", "http://x/y"], "unknown domain"),
        (["--count", "-1"], "--count"),
    ],
)
def test_what_makes_no_sense_is_said(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], clean_home: Path
) -> None:
    assert invoke(["replay", *words, *DOWN]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_a_broker_that_is_down_is_exit_3(
    capsys: pytest.CaptureFixture[str], clean_home: Path
) -> None:
    assert invoke(["replay", "--from", "2026-11-21T10:00:00", *DOWN]) == 3
    error = capsys.readouterr().err
    assert "taken as local time" in error
    assert "pulsar://127.0.0.1:9" in error


def test_the_help_names_the_keys(capsys: pytest.CaptureFixture[str], clean_home: Path) -> None:
    assert invoke(["replay", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "space pauses" in shown
    assert "--into" in shown
