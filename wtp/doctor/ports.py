"""The ports that wtp takes by default or by its settings: who has them."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wtp.config.address import split_address
from wtp.config.schema import Settings
from wtp.doctor.finding import Finding, State, Subject

WHY = "A port that another program has cannot be listened on; port 0 takes a free one."

LISTENING = "0A"
"""State of a TCP socket that listens, in /proc/net/tcp (net/tcp_states.h)."""


@dataclass(frozen=True, slots=True)
class Place:
    """A port that wtp would listen on.

    Attributes:
        port: Its number.
        kinds: `udp`, `tcp` or both.
        role: The command that does.
        mend: What to write to take another one.
    """

    port: int
    kinds: tuple[str, ...]
    role: str
    mend: str


def places(settings: Settings) -> list[Place]:
    """What the settings listen on; port 0 is always free and left out."""
    rows = (
        (settings.router.listen, ("udp", "tcp"), "router", "wtp router --listen 127.0.0.1:0"),
        (settings.broker.listen, ("tcp",), "broker", "wtp broker --listen 127.0.0.1:0"),
        (settings.broker.http, ("tcp",), "broker", "wtp broker --http 127.0.0.1:0"),
    )
    found = [Place(split_address(address)[1], *rest) for address, *rest in rows]  # type: ignore[arg-type]
    return [place for place in found if place.port]


async def look(subject: Subject) -> list[Finding]:
    """Ask the kernel who listens."""
    return await asyncio.to_thread(_look, subject.settings)


def _look(settings: Settings) -> list[Finding]:
    wanted = places(settings)
    if not sys.platform.startswith("linux"):
        return [judge(place, _tried(place)) for place in wanted]
    sockets = {kind: listeners(kind) for kind in ("udp", "tcp")}
    numbers = {
        inode
        for place in wanted
        for kind in place.kinds
        for inode in sockets[kind].get(place.port, ())
    }
    names = owners(numbers)
    return [
        judge(
            place,
            {
                kind: sorted({names.get(i, "a program of another user") for i in inodes})
                for kind in place.kinds
                if (inodes := sockets[kind].get(place.port))
            },
        )
        for place in wanted
    ]


def judge(place: Place, taken: Mapping[str, list[str]]) -> Finding:
    """Judge one port.

    Args:
        place: The port.
        taken: Programs that listen on it, by `udp` and `tcp`; nobody: left out.
    """
    check = f"port-{place.port}"
    holders = [", ".join(taken[kind]) if kind in taken else "free" for kind in place.kinds]
    found = ", ".join(f"{kind} {who}" for kind, who in zip(place.kinds, holders, strict=True))
    if len(set(holders)) == 1:
        found = f"{' and '.join(place.kinds)} {holders[0]}"
    found += f"; for wtp {place.role}"
    foreign = [name for names in taken.values() for name in names if not _is_wtp(name)]
    if foreign:
        return Finding(check, State.WARNING, found, WHY, place.mend)
    return Finding(check, State.OK, found, WHY)


def _is_wtp(name: str) -> bool:
    return name.startswith("wtp ")


def listeners(kind: str, proc: Path = Path("/proc")) -> dict[int, list[int]]:
    """Inodes of the sockets that listen, by local port, out of /proc/net (man 5 proc_pid_net).

    Args:
        kind: `udp` or `tcp`; those of IPv6 are included.
        proc: For tests.
    """
    found: dict[int, list[int]] = {}
    for name in (kind, f"{kind}6"):
        try:
            lines = (proc / "net" / name).read_text(encoding="ascii").splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            fields = line.split()
            unbound = kind == "tcp" and fields[3] != LISTENING
            if len(fields) < 10 or unbound:
                continue
            if kind == "udp" and not fields[2].endswith(":0000"):  # connected: a client's
                continue
            found.setdefault(int(fields[1].rpartition(":")[2], 16), []).append(int(fields[9]))
    return found


def owners(inodes: Iterable[int], proc: Path = Path("/proc")) -> dict[int, str]:
    """Who has these sockets open, as `name (pid N)`, as far as this user may see it."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, str] = {}
    if not wanted:
        return found
    for folder in proc.glob("[0-9]*"):
        try:
            for one in (folder / "fd").iterdir():
                inode = wanted.get(_link(one))
                if inode is not None:
                    found.setdefault(inode, f"{program(folder)} (pid {folder.name})")
        except OSError:
            continue
    return found


def _link(path: Path) -> str:
    """What a file descriptor is; empty when it is closed meanwhile."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def program(folder: Path) -> str:
    """What a process is, out of its folder in /proc: `wtp router`, or its command's name."""
    raw = (folder / "cmdline").read_bytes().split(b"\0")
    words = [word.decode("utf-8", "replace") for word in raw if word]
    for at, word in enumerate(words[:4]):
        module = word == "wtp" and at > 0 and words[at - 1] == "-m"
        python = at == 1 and Path(words[0]).name.startswith("python")
        script = Path(word).name == "wtp" and (at == 0 or python)
        if module or script:
            return f"wtp {words[at + 1]}" if at + 1 < len(words) else "wtp "
    name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return name.removeprefix("wtp ")


def _tried(place: Place, bind: Callable[[str, int], bool] | None = None) -> dict[str, list[str]]:
    free = bind or _is_free
    return {kind: ["a program"] for kind in place.kinds if not free(kind, place.port)}


def _is_free(kind: str, port: int) -> bool:
    """Whether a port can be bound now; it is given back at once."""
    form = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, form) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
