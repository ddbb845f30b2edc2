"""Names of received files: nothing leads out of the folder, everything is a name."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.errors import WireError
from wtp.transfer.names import HIDDEN, MAX_NAME_BYTES, clean_path, shown


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("plain.txt", ("plain.txt",)),
        ("folder/.gitignore", ("folder", ".gitignore")),
        ("../../etc/passwd", ("etc", "passwd")),
        ("/etc/passwd", ("etc", "passwd")),
        ("//host/share/x", ("host", "share", "x")),
        (r"C:\Users\x.txt", ("Users", "x.txt")),
        (r"..\..\x", ("x",)),
        ("a/./b//c", ("a", "b", "c")),
        ("a/ .. /b", ("a", "b")),
        ("\x1b[31mred\n\x00", ("_[31mred__",)),
        ("gpj.\u202egnp.exe", ("gpj._gnp.exe",)),
        ("\udcff.bin", ("_.bin",)),
        ("CON", ("_CON",)),
        ("nul.tar.gz", ("_nul.tar.gz",)),
        ("lpt1/com9.txt", ("_lpt1", "_com9.txt")),
        ("console.txt", ("console.txt",)),
        ("end. ", ("end__",)),
        ("...", ("___",)),
        ("a:b|c?", ("a_b_c_",)),
        ("e\u0301.txt", ("\u00e9.txt",)),
        (".WTP-files/lock", ("_.WTP-files", "lock")),
    ],
)
def test_a_name_becomes_harmless(text: str, names: tuple[str, ...]) -> None:
    assert clean_path(text) == names


@pytest.mark.parametrize("text", ["", "/", "..", "../..", "C:\\", "  ", "x" * 20_000, "a/" * 100])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        clean_path(text)


def test_a_long_name_keeps_its_ending_and_its_difference() -> None:
    first, second = (clean_path("x" * 300 + tail)[0] for tail in ("a.mp4", "b.mp4"))
    assert first != second
    for name in (first, second):
        assert name.endswith(".mp4")
        assert len(name.encode()) <= MAX_NAME_BYTES
    assert len(clean_path("é" * 150)[0].encode()) <= MAX_NAME_BYTES


@given(st.text(max_size=300))
def test_no_text_leads_elsewhere(text: str) -> None:
    try:
        names = clean_path(text)
    except WireError:
        return
    for name in names:
        assert name not in ("", ".", "..")
        assert "/" not in name
        assert "\\" not in name
        assert len(name.encode()) <= MAX_NAME_BYTES
        assert name[-1] not in ". "
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in name)
        assert not name.casefold().startswith(HIDDEN)
    assert clean_path("/".join(names)) == names


def test_a_name_that_is_shown_steers_no_terminal() -> None:
    assert shown("a\x1b[2Jb\u202e") == "a?[2Jb?"
