"""Processes of this machine that show their figures: who they are and where to ask.

A long-running command that serves `GET /stats` lays a file `run/<pid>.json` into the data folder
and takes it away at its end. What a killed process left behind is recognised and removed: its pid
is free, or belongs to a process that began at another time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = "run"
"""Under the data folder."""

MAX_BYTES = 4096
"""A longer file is none of ours."""

log = logging.getLogger("wtp")


@dataclass(frozen=True, slots=True)
class Exposed:
    """A process that shows its figures.

    Attributes:
        role: Its command: `router`, `consume`, `publish`, ...
        pid: Its process id.
        url: Where `/stats` and `/metrics` are: `http://127.0.0.1:PORT`; a router's own HTTPS side.
        room: The room it works in; empty for one that serves all.
        started_us: When it began to show them, Unix µs by the wall clock.
    """

    role: str
    pid: int
    url: str
    room: str
    started_us: int


@contextlib.contextmanager
def lay(home: Path, exposed: Exposed) -> Iterator[None]:
    """Let others find a process while the context lasts.

    A folder that cannot be written is no reason to stop: it is said, and nobody finds the process.

    Args:
        home: The data folder.
        exposed: This process.
    """
    path = home / FOLDER / f"{exposed.pid}.json"
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        list_exposed(home)
        began = _began(exposed.pid)
        new.write_text(json.dumps({**asdict(exposed), "began": began}), encoding="utf-8")
        new.replace(path)
    except OSError as error:
        log.info("Other commands do not find this process: %s: %s", path, error.strerror)
    try:
        yield
    finally:
        for left in (path, new):
            with contextlib.suppress(OSError):
                left.unlink()


def list_exposed(home: Path) -> list[Exposed]:
    """Every process that shows its figures now, the oldest first; removes what is stale.

    Args:
        home: The data folder (`wtp.config.load.home()`).
    """
    try:
        paths = [path for path in (home / FOLDER).iterdir() if path.stem.isdecimal()]
    except OSError:
        return []
    found = []
    for path in paths:
        values = _read(path)
        pid = int(path.stem)
        if not _alive(pid, values.get("began")):
            with contextlib.suppress(OSError):
                path.unlink()
            continue
        one = _exposed(values)
        if one is not None and one.pid == pid and path.suffix == ".json":
            found.append(one)
    return sorted(found, key=lambda one: (one.started_us, one.pid))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _exposed(values: dict[str, Any]) -> Exposed | None:
    """What a file says; None when it is damaged."""
    words = [values.get(name) for name in ("role", "url", "room")]
    numbers = [values.get(name) for name in ("pid", "started_us")]
    if not all(isinstance(word, str) for word in words):
        return None
    if not all(type(number) is int for number in numbers):
        return None
    if not values["url"].startswith(("http://", "https://")):
        return None
    return Exposed(values["role"], values["pid"], values["url"], values["room"],
                   values["started_us"])  # fmt: skip


def _alive(pid: int, began: object) -> bool:
    """Whether a pid is still that process."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # another user's
    now = _began(pid)
    return began is None or now is None or began == now


def _began(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine start; None where that is unknown.

    Field 22 of /proc/PID/stat (man 5 proc_pid_stat); field 2, in brackets, may hold anything.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
