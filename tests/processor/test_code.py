"""How users name their code."""

from __future__ import annotations

from pathlib import Path

import pytest

from wtp.errors import UsageError
from wtp.model import Kind
from wtp.processor.code import BUILTINS, CodeSpec
from wtp.processor.load import load


def test_files_modules_and_builtins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "blur.py"
    file.write_text("")
    monkeypatch.chdir(tmp_path)
    spec = CodeSpec.parse("blur.py")
    assert (spec.target, spec.function, spec.name) == (str(file), "process", "blur")
    assert CodeSpec.parse(f"{file}:Soft.edges_of").name == "Soft.edges-of"
    module = CodeSpec.parse("my.code:process")
    assert (module.target, module.is_file, module.name) == ("my.code", False, "code")
    assert CodeSpec.parse("chat-filter").builtin
    assert CodeSpec.parse("blur.py").usual_kind is Kind.VIDEO
    assert CodeSpec.parse("loudness").usual_kind is Kind.AUDIO


@pytest.mark.parametrize(
    "text", ["", "nope", "nope.py", "a:b c", "a-b:c", "a:", ":b", "a..b:c", "/etc/passwd"]
)
def test_what_names_no_code_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        CodeSpec.parse(text)
    assert caught.value.hint


@pytest.mark.parametrize("name", BUILTINS)
def test_every_builtin_can_be_loaded_for_its_kind_only(name: str) -> None:
    spec = CodeSpec.parse(name)
    spec.check_kind(spec.usual_kind)
    loaded = load(spec, spec.usual_kind)
    assert loaded.wish in ("object", "picture", "sound", "text")
    if name != "passthrough":
        with pytest.raises(UsageError, match="is for"):
            spec.check_kind(Kind.FILE)


def test_a_module_and_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wtp_test_good.py").write_text("def go(obj): return obj\n")
    (tmp_path / "wtp_test_bad.py").write_text("import wtp_test_worse\n")
    (tmp_path / "wtp_test_worse.py").write_text("def f():\n    return {}['key']\nf()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load(CodeSpec.parse("wtp_test_good:go"), Kind.DATA).file.endswith("wtp_test_good.py")
    with pytest.raises(UsageError) as caught:
        load(CodeSpec.parse("wtp_test_bad:go"), Kind.DATA)
    lines = caught.value.message.splitlines()
    assert lines[0] == "wtp_test_bad:go cannot be imported: KeyError: 'key'"
    assert "wtp_test_worse.py:2 in f: return {}['key']" in lines[-1]
    assert len(lines) == 4


def test_a_file_imports_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "wtp_test_near.py").write_text("WORD = 'near'\n")
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom wtp_test_near import WORD\n"
        "@dataclass\nclass Kept:\n    word: 'str' = WORD\n"
        "def process(text: str): return Kept().word\n"
    )
    loaded = load(CodeSpec.parse(str(tmp_path / "mine.py")), Kind.CHAT)
    assert loaded.call("x") == "near"
