"""`wtp certs`: created, shown, not overwritten by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wtp.cli.group import invoke
from wtp.transport.certs import load_certificate


@pytest.fixture
def folder(tmp_path: Path, clean_home: Path) -> Path:
    return tmp_path / "certs"


def test_create_and_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["certs", "create", "--certs", str(folder), "--host", "cam.local"]) == 0
    made = capsys.readouterr().out
    certificate = load_certificate(folder)
    assert f"--cert-hash {certificate.sha256}" in made
    assert str(folder) in made
    assert (certificate.not_after - certificate.not_before).days == 13
    assert invoke(["certs", "show", "--certs", str(folder)]) == 0
    assert capsys.readouterr().out == made
    assert invoke(["certs", "show", "--certs", str(folder), "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["sha256"] == certificate.sha256
    assert shown["expired"] is False


def test_the_folder_is_that_of_the_data_without_a_checkout(
    clean_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(["certs", "create", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(clean_home / "certs")


def test_a_valid_one_is_replaced_only_when_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ["certs", "create", "--certs", str(folder)]
    assert invoke(create) == 0
    first = load_certificate(folder).sha256
    assert invoke(create) == 2
    assert "--force" in capsys.readouterr().err
    assert load_certificate(folder).sha256 == first
    assert invoke([*create, "--force"]) == 0
    assert load_certificate(folder).sha256 != first


def test_a_damaged_one_is_told_and_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    for name in ("wtp.crt", "wtp.key"):
        (folder / name).write_text("rubbish", encoding="utf-8")
    assert invoke(["certs", "show", "--certs", str(folder)]) == 1
    err = capsys.readouterr().err
    assert "damaged" in err
    assert "wtp certs create" in err
    assert invoke(["certs", "create", "--certs", str(folder)]) == 0


@pytest.mark.parametrize("days", ["0", "15", "-1"])
def test_days_out_of_bounds(folder: Path, days: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["certs", "create", "--certs", str(folder), "--days", days]) == 2
    assert not folder.exists()
    assert f"--days {days}" in capsys.readouterr().err
