"""The vector files are what their generator writes, so that nobody edits one side alone."""

from __future__ import annotations

import pytest

from tests.core.strategies import VECTORS
from tests.tools.make_vectors import FILES, text_of


@pytest.mark.parametrize("name", FILES)
def test_files_are_up_to_date(name: str) -> None:
    path = VECTORS / f"{name}.json"
    assert path.read_text(encoding="utf-8") == text_of(name), (
        "run python -m tests.tools.make_vectors"
    )


def test_names_tell_vectors_apart() -> None:
    for make in FILES.values():
        names = [(row.get("parser"), row["name"]) for row in make()]
        assert len(set(names)) == len(names)
