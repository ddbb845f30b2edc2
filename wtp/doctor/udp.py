"""UDP on this machine: how large its buffers may be, and whether the kernel bundles datagrams."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

from wtp.doctor.finding import Finding, State, Subject
from wtp.transport.endpoint import SOCKET_BUFFER_BYTES

UDP_SEGMENT, UDP_GRO = 103, 104
"""Options of linux/udp.h: one system call for many datagrams, out and in."""

CORE = Path("/proc/sys/net/core")

WHY_BUFFERS = (
    "QUIC runs over UDP: what comes in bursts while a process is not looking is lost when the "
    "buffer is full."
)
WHY_OFFLOAD = "With GSO and GRO one system call moves many datagrams: 1.5 to 2 times the speed."


async def look(subject: Subject) -> list[Finding]:
    """Ask the kernel, with a socket that is closed again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        granted = {
            name: _granted(sock, option)
            for name, option in (("rmem", socket.SO_RCVBUF), ("wmem", socket.SO_SNDBUF))
        }
        options = {
            name: _takes(sock, option, value)
            for name, option, value in (("GSO", UDP_SEGMENT, 0), ("GRO", UDP_GRO, 1))
        }
    limits = {name: _limit(name) for name in ("rmem", "wmem")}
    return [judge_buffers(granted, limits), judge_offload(options, sys.platform)]


def judge_buffers(granted: dict[str, int], limits: dict[str, int | None]) -> Finding:
    """Judge what was granted of the 4 MiB that are asked for.

    Args:
        granted: Bytes by `rmem` (receive) and `wmem` (send).
        limits: The kernel's limits in bytes; None where they are not shown.
    """
    words = {"rmem": "receive", "wmem": "send"}
    got = ", ".join(f"{word} {granted[name] >> 10} KiB" for name, word in words.items())
    found = f"{got} of {SOCKET_BUFFER_BYTES >> 10} KiB"
    small = [name for name in words if granted[name] < SOCKET_BUFFER_BYTES]
    if not small:
        return Finding("udp-buffers", State.OK, found, WHY_BUFFERS)
    if any(limits[name] is None for name in small):
        found += " (the limit is set outside this container)"
    values = " ".join(f"net.core.{name}_max={SOCKET_BUFFER_BYTES}" for name in small)
    return Finding("udp-buffers", State.WARNING, found, WHY_BUFFERS, f"sudo sysctl -w {values}")


def judge_offload(options: dict[str, bool], platform: str) -> Finding:
    """Judge which options the kernel takes."""
    missing = [name for name, there in options.items() if not there]
    if not missing:
        return Finding("udp-offload", State.OK, "GSO and GRO", WHY_OFFLOAD)
    mend = "Use Linux 5.0 or newer; wtp works without, with more CPU time."
    if platform != "linux":
        mend = "Only Linux has them; wtp works without."
    found = f"the kernel has no {' and no '.join(missing)}"
    return Finding("udp-offload", State.WARNING, found, WHY_OFFLOAD, mend)


def _granted(sock: socket.socket, option: int) -> int:
    with contextlib.suppress(OSError):  # macOS refuses instead of granting less
        sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    size = sock.getsockopt(socket.SOL_SOCKET, option)
    return size // 2 if sys.platform == "linux" else size  # it reports twice that, socket(7)


def _takes(sock: socket.socket, option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(socket.IPPROTO_UDP, option, value)
    except OSError:
        return False
    return True


def _limit(name: str) -> int | None:
    try:
        return int((CORE / f"{name}_max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
