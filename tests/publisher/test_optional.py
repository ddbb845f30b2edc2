"""Options whose value may be left out, and options that take several."""

from __future__ import annotations

import pytest

from wtp.cli.optional import fill_in

OPTIONAL = {"--camera": "0"}
SEVERAL = frozenset({"--file"})


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("--camera", "--camera=0"),
        ("--camera --chat", "--camera=0 --chat"),
        ("--camera 1 --chat", "--camera 1 --chat"),
        ("--camera /dev/video2", "--camera /dev/video2"),
        ("--camera=3", "--camera=3"),
        ("--camera --camera 1", "--camera=0 --camera 1"),
        ("--file a b --chat", "--file=a --file=b --chat"),
        ("--file - b", "--file=- --file=b"),
        ("--file --chat", "--file= --chat"),
        ("--file", "--file="),
        ("--file a --room r b", "--file=a --room r b"),
        ("--file a -- -b c", "--file=a --file=-b --file=c"),
        ("--file -- -b", "--file=-b"),
        ("--camera -1,0 --chat", "--camera -1,0 --chat"),
        ("--chat -- --camera", "--chat -- --camera"),
        ("", ""),
    ],
)
def test_words_are_put_right(line: str, wanted: str) -> None:
    assert fill_in(line.split(), OPTIONAL, SEVERAL) == wanted.split()
