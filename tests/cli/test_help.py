"""What every command's help has: a sentence for each flag and argument."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from wtp.cli import COMMANDS
from wtp.cli.group import load_command


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A command and those below it."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{path} {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_everything_has_a_sentence(name: str) -> None:
    lacking = []
    for path, command in commands(load_command(name), name):
        if not (command.help or "").split("\n")[0].endswith("."):
            lacking.append(path)
        for parameter in command.params:
            text = getattr(parameter, "help", None) or ""
            if not parameter.hidden and not text.rstrip().endswith((".", "-")):
                lacking.append(f"{path} {parameter.opts[0]}: {text!r}")
    assert lacking == []
