"""What doctors look at in tests: nothing of this machine's usual places."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from wtp.config.schema import BrokerSettings, RouterSettings, Settings
from wtp.doctor.finding import Finding, State, Subject


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody answers, over TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def subject(folder: Path, *, router: int = 0, broker: str = "", **rest: Any) -> Subject:
    """A subject whose router, broker and folders are those of a test.

    Args:
        folder: For everything.
        router: Port of the router; 0 for one where nobody is.
        broker: URL of the broker; empty for one where nobody is.
        rest: More of `Subject`.
    """
    nobody = free_port()
    settings = Settings(
        router=RouterSettings(url=f"https://127.0.0.1:{router or nobody}/wt"),
        broker=BrokerSettings(
            url=broker or f"pulsar://127.0.0.1:{nobody}", admin=f"http://127.0.0.1:{nobody}"
        ),
    )
    values = {"settings": settings, "home": folder / "home", "certs": folder / "certs", **rest}
    return Subject(**values)


def states(findings: list[Finding]) -> dict[str, State]:
    """State by check."""
    return {finding.check: finding.state for finding in findings}


def only(findings: list[Finding], check: str) -> Finding:
    """The one finding of a check."""
    (found,) = (finding for finding in findings if finding.check == check)
    return found
