"""Options whose value may be left out, and options that take several values.

Typer's own copy of click knows neither: `--camera` with nothing behind it fails, and
`--camera --chat` takes `--chat` as the camera. The words are put right before they are parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typer.core import TyperCommand


def fill_in(
    args: Sequence[str], optional: Mapping[str, str], several: frozenset[str] = frozenset()
) -> list[str]:
    """Rewrite a command line so that every option has exactly one value.

    Args:
        args: The words after the command's name.
        optional: Option name to the value that stands for none: a bare `--camera` becomes
            `--camera=0` when nothing or another option follows.
        several: Options that take all words up to the next option: `--file a b` becomes
            `--file=a --file=b`.

    Returns:
        The rewritten words; those after `--` are left alone.
    """
    out: list[str] = []
    words = list(args)
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            return [*out, word, *words[index:]]
        if word in optional and (index == len(words) or _is_option(words[index])):
            out.append(f"{word}={optional[word]}")
        elif word in several:
            start = index
            while index < len(words) and not _is_option(words[index]):
                index += 1
            out += [f"{word}={value}" for value in words[start:index]] or [word]
        else:
            out.append(word)
    return out


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


class OptionalValues(TyperCommand):
    """A command with such options; subclass it and name them.

    Attributes:
        optional: Option name to the value that stands for none.
        several: Options that take all words up to the next option.
    """

    optional: ClassVar[Mapping[str, str]] = {}
    several: ClassVar[frozenset[str]] = frozenset()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words once they are put right."""
        return super().parse_args(ctx, fill_in(args, self.optional, self.several))
