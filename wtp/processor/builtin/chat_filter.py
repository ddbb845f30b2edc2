"""Chat lines with the words of a list masked by asterisks.

The list is WORDS, or the file that the environment variable WTP_CHAT_WORDS names: a word a line.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

WORDS = ("damn", "hell", "crap", "bloody", "bastard")


def pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """What matches any of the words, whole, in any case, also with letters repeated."""
    each = ("+".join(map(re.escape, word)) + "+" for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"\b(?:{'|'.join(each)})\b", re.IGNORECASE)


def listed() -> tuple[str, ...]:
    """The words of the file, or WORDS."""
    file = os.environ.get("WTP_CHAT_WORDS")
    if not file:
        return WORDS
    lines = Path(file).read_text(encoding="utf-8").split("\n")
    return tuple(filter(None, map(str.strip, lines)))


MASKED = pattern(listed())


def process(text: str) -> str:
    """Mask what is listed."""
    return MASKED.sub(lambda found: "*" * len(found[0]), text)
