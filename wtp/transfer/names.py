"""Names of received files: whatever the sender calls a file, it stays in its folder. Pure.

A name comes as text with `/` between folder and file. What could lead out of the folder, steer a
terminal or be no name on some system is taken out or replaced by `_`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from wtp.errors import WireError

MAX_NAME_BYTES = 255
"""Longest name of a file in bytes on ext4, XFS, APFS and, in UTF-16 units, NTFS."""
MAX_DEPTH = 64
MAX_PATH_BYTES = 3072
"""Longest path below the folder; with the folder's own it stays under PATH_MAX (4096)."""
MAX_TEXT = 16 * 1024
"""Characters of a name that are looked at at all."""
HIDDEN = ".wtp-files"
"""The folder in which unfinished files lie; no sender may write there."""

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.I)
"""Device names of Windows, with or without an ending (Microsoft, Naming Files, Paths, ...)."""
_FORBIDDEN = frozenset('<>:"|?*')
_DIRECTION = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}
_DRIVE = re.compile(r"[A-Za-z]:(?=[/\\]|$)")
_TAIL_BYTES = 20
"""Longest ending that a shortened name keeps."""

Names = tuple[str, ...]
"""Folders from the outermost on, and the file."""


def clean_path(text: str) -> Names:
    r"""The names that a sender's name stands for below the receiving folder.

    `../`, `./`, a drive and leading slashes are left out; `\` separates as well.

    Raises:
        WireError: Nothing is left of it, or it is too long or too deep.
    """
    if len(text) > MAX_TEXT:
        raise WireError("A file's name is too long.", code="file-name")
    parts = _DRIVE.sub("", text, count=1).replace("\\", "/").split("/")
    names = tuple(_clean(part) for part in parts if part.strip(". ") or _dotted(part))
    if not names:
        raise WireError(f"{text[:40]!r} is no name of a file.", code="file-name")
    if len(names) > MAX_DEPTH or len("/".join(names).encode()) > MAX_PATH_BYTES:
        raise WireError(f"The path {text[:40]!r}... is too deep.", code="file-name")
    return names


def _dotted(part: str) -> bool:
    """Whether a part of dots and spaces is a name of its own (`...`), not a way elsewhere."""
    return len(part) > 2 and not part.isspace() and part.strip() not in ("", ".", "..")


def _clean(name: str) -> str:
    text = "".join("_" if _unwanted(c) else c for c in unicodedata.normalize("NFC", name))
    text = text.lstrip(" ")
    kept = text.rstrip(". ")
    text = kept + "_" * (len(text) - len(kept))  # Windows would drop them: `a.` is `a` there
    if _RESERVED.fullmatch(text) or fold(text).startswith(HIDDEN):
        text = f"_{text}"
    return _shortened(text, name)


def _unwanted(character: str) -> bool:
    category = unicodedata.category(character)
    return (
        category in ("Cc", "Cs", "Zl", "Zp")
        or ord(character) in _DIRECTION
        or character in _FORBIDDEN
    )


def _shortened(text: str, original: str) -> str:
    """A name that fits, its ending kept; two long names that begin alike stay apart."""
    if len(text.encode()) <= MAX_NAME_BYTES:
        return text
    stem, dot, ending = text.rpartition(".")
    if not dot or len(ending.encode()) > _TAIL_BYTES:
        stem, dot, ending = text, "", ""
    mark = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    tail = f"~{mark}{dot}{ending}"
    room = MAX_NAME_BYTES - len(tail.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + tail


def fold(name: str) -> str:
    """What a file system that ignores case takes a name for."""
    return unicodedata.normalize("NFC", name).casefold()


def shown(text: str) -> str:
    """A name as it may stand in a message: nothing in it steers a terminal."""
    return "".join("?" if _unwanted(c) and c not in _FORBIDDEN else c for c in text[:200])
