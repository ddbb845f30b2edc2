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
            `--file=a --file=b`; behind `--` also words that begin with a dash.

    Returns:
        The rewritten words. Those after `--` belong to the last of `several`; without one they
        are left alone.
    """
    out: list[str] = []
    words = list(args)
    index = 0
    last = ""
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            rest = words[index:]
            return [*out, *(f"{last}={one}" for one in rest)] if last else [*out, word, *rest]
        if word in optional and (index == len(words) or _is_option(words[index])):
            out.append(f"{word}={optional[word]}")
        elif word in several:
            last = word
            start = index
            while index < len(words) and not _is_option(words[index]):
                index += 1
            if start == index and words[index : index + 1] != ["--"]:
                out.append(f"{word}=")
            out += [f"{word}={value}" for value in words[start:index]]
        else:
            out.append(word)
    return out


def _is_option(word: str) -> bool:
    """Whether a word is an option; `-` is standard input, `-1280,0,...` a place on a screen."""
    return word.startswith("-") and word != "-" and not word[1].isdigit()


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


def flags_given(ctx: Any) -> dict[str, str]:
    """The options that stand on the command line itself: name of the argument to its flag.

    What comes from the environment or a profile is not among them: it holds for many commands, and
    need not fit each.
    """
    given = {}
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name)
        if source is not None and source.name == "COMMANDLINE":
            names = [max(parameter.opts, key=len), *parameter.secondary_opts]
            given[parameter.name] = "/".join(names)
    return given
