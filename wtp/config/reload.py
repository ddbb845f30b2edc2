"""A profile that is looked at while it is used: the last good state, and what changed in it.

Only the sections that a role says it can take in flight are handed on; a change of any other
setting is named once and needs a restart.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wtp.config.load import find_profile, override, parse
from wtp.config.schema import Settings
from wtp.errors import ConfigError

log = logging.getLogger("wtp.config")

LOOK_S = 0.5
"""How often the file is looked at."""

MAX_BYTES = 4 * 1024 * 1024
"""A profile is small; what is larger is not read."""

Stamp = tuple[int, int, int]
"""Of a file: modification time in ns, size, inode (an atomic rename changes at least that)."""


class Reload:
    """Looks after the profile that settings came from.

    Args:
        profile: Its name or path.
        values: What flags and environment put over it, by dotted key.
        live: Sections that may change in flight, e.g. `services`.
    """

    def __init__(self, profile: str, values: Mapping[str, Any], live: tuple[str, ...]) -> None:
        self.path: Path = find_profile(profile)
        self.loaded = 0
        """Changes that were taken."""
        self.error = ""
        """What is wrong with the file as it stands; empty while it is in use."""
        self._values = values
        self._live = live
        self._seen: Stamp | None = None
        self._text: str | None = None
        self._settings: Settings | None = None
        self._named: set[str] = set()

    async def watch(self, settings: Settings, take: Callable[[Settings], None]) -> None:
        """Hand on every good change; runs for ever.

        Args:
            settings: What is in use now.
            take: Gets the whole new settings when a live section has changed.
        """
        self._settings = settings
        base = settings
        while True:
            changed = await asyncio.to_thread(self._read)
            if changed is not None:
                self._look(changed, base, take)
            await asyncio.sleep(LOOK_S)

    def snapshot(self) -> dict[str, Any]:
        """`profile`, `loaded` and `error` as plain values."""
        return {"profile": str(self.path), "loaded": self.loaded, "error": self.error}

    def _read(self) -> Settings | ConfigError | None:
        """What the file says now; None when it says what it said."""
        try:
            found = os.stat(self.path)
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._seen:
                return None
            if found.st_size > MAX_BYTES:
                raise OSError(f"it is larger than {MAX_BYTES} bytes")
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._seen = self._text = None
            return ConfigError(f"{self.path} cannot be read: {reason}.", hint="Mend the file.")
        self._seen = stamp
        if text == self._text:
            return None
        self._text = text
        try:
            return override(parse(text, str(self.path)), self._values)
        except ConfigError as error:
            return error

    def _look(
        self, found: Settings | ConfigError, base: Settings, take: Callable[[Settings], None]
    ) -> None:
        if isinstance(found, ConfigError):
            if found.message != self.error:
                self.error = found.message
                log.error("%s The last good configuration stays in use.", found.message)
            return
        if self.error:
            self.error = ""
            log.info("%s is in order again.", self.path)
        self._name_others(base, found)
        assert self._settings is not None  # noqa: S101 - set by `watch`
        before = {section: getattr(self._settings, section) for section in self._live}
        after = {section: getattr(found, section) for section in self._live}
        if before == after:
            return
        for line in changes(_plain(before), _plain(after)):
            log.info("%s: %s", self.path, line)
        self._settings = found
        self.loaded += 1
        take(found)

    def _name_others(self, base: Settings, found: Settings) -> None:
        """Say once of each setting that a restart would change it."""
        old, new = _flat(base.model_dump()), _flat(found.model_dump())
        keys = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        others = {key for key in keys if key.partition(".")[0] not in self._live}
        for key in sorted(others - self._named):
            log.warning("%s: %s was changed and needs a restart.", self.path, key)
        self._named = others


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What differs, one line for each setting; passwords in URLs stay out."""
    old, new = _flat(before), _flat(after)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key}: {_shown(old.get(key))} -> {_shown(new.get(key))}"


def _plain(sections: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {key: _plain_value(value) for key, value in dict(section).items()}
        for name, section in sections.items()
    }


def _plain_value(value: Any) -> Any:
    return value.model_dump(exclude_none=True) if hasattr(value, "model_dump") else value


def _flat(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Dotted keys to values; empty lists and tables count as absent."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out.update(_flat(value, f"{path}{key}."))
        elif value not in ([], None):
            out[f"{path}{key}"] = value
    return out


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(_shown(one) for one in value)
    text = str(value)
    parts = urlsplit(text) if "://" in text else None
    if parts is not None and (parts.query or "@" in parts.netloc):
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return text
