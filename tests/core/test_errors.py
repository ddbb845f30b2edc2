"""wtp.errors: one tree, each class with a code, an exit code and a close code."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from wtp import errors
from wtp.errors import WtpError


def tree(cls: type[WtpError]) -> Iterator[type[WtpError]]:
    yield cls
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


ALL = list(tree(WtpError))


@pytest.mark.parametrize("cls", ALL)
def test_every_class_speaks_to_programs_and_people(cls: type[WtpError]) -> None:
    error = cls("It broke.", hint="Mend it.")
    assert str(error) == "It broke. Mend it."
    assert (error.message, error.hint) == ("It broke.", "Mend it.")
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)
    assert error.exit_code in range(1, 6)
    assert error.close_code > 0
    assert str(cls("It broke.")) == "It broke."


def test_a_code_of_its_own() -> None:
    assert WtpError("No.", code="no").code == "no"
    assert WtpError.code == "error"


def test_codes_are_not_shared() -> None:
    assert len({cls.code for cls in ALL}) == len(ALL)


def test_the_drawing_names_every_class_and_exit_code() -> None:
    drawing = dict(re.findall(r"^[│├└─ ]*(\w+) .*exit (\d)$", errors.__doc__ or "", re.MULTILINE))
    assert drawing == {cls.__name__: str(cls.exit_code) for cls in ALL if cls is not WtpError}
