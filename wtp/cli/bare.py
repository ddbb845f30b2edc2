"""Options with an optional value (`--camera`, `--camera 1`) and with several (`--file a b c`).

Typer's own copy of click has neither, so the words of the command line are put into the form it
understands before it parses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from typer.core import TyperCommand


def spell_out(
    words: Sequence[str], bare: Mapping[str, str], several: Iterable[str] = ()
) -> list[str]:
    """Put words into the form that Typer parses.

    Args:
        words: The command line after the command.
        bare: Option to the value it has when none follows: `--camera` becomes `--camera=VALUE`.
        several: Options that take every word up to the next option: `--file a b` becomes
            `--file=a --file=b`.
    """
    out: list[str] = []
    rest = list(words)
    gathering = ""
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*out, word, *rest]
        if word in bare and (not rest or _is_option(rest[0])):
            out.append(f"{word}={bare[word]}")
            gathering = ""
        elif word in several:
            gathering = word
            if not rest or _is_option(rest[0]):
                out.append(word)
        elif gathering and not _is_option(word):
            out.append(f"{gathering}={word}")
        else:
            gathering = ""
            out.append(word)
    return out


def _is_option(word: str) -> bool:
    """Whether a word is an option; `-` alone is standard input or output."""
    return word.startswith("-") and word != "-"


def bare_options(several: Iterable[str] = (), **bare: str) -> type[TyperCommand]:
    """A command class for such options, for `@app.command(cls=...)`.

    Args:
        several: Names without dashes of options that take several words.
        bare: Name without dashes to the value when none is given, e.g. `camera="0"`.
    """
    defaults = {f"--{name.replace('_', '-')}": value for name, value in bare.items()}
    gathered = {f"--{name}" for name in several}

    class BareCommand(TyperCommand):
        """A command that knows them."""

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            """Parse, with the words spelled out."""
            return super().parse_args(ctx, spell_out(args, defaults, gathered))

    return BareCommand
