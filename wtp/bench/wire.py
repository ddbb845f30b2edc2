"""A line between two ends of one machine whose rate can be set: a network namespace behind a veth.

What runs in the namespace reaches this side by `near`; its outgoing packets pass a token bucket
(`tc tbf`) while the line is narrow. Needs root and iproute2.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from wtp.errors import Refused, WtpError

BURST_BYTES = 4096
"""What passes at once after a rest: three packets."""
BUFFER_MS = 400
"""How long a packet may wait before the line drops it: the buffer of a common home router."""


def check_root() -> None:
    """Check that namespaces can be made here.

    Raises:
        Refused: It takes root.
        WtpError: iproute2 is missing.
    """
    if os.geteuid():
        raise Refused(
            "A network namespace with a narrow line takes root.",
            hint="Run it with sudo, or in a container of your own.",
            code="not-allowed",
        )
    missing = [program for program in ("ip", "tc") if shutil.which(program) is None]
    if missing:
        raise WtpError(f"{' and '.join(missing)} not found.", hint="Install iproute2.")


async def _call(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise WtpError(
            f"{' '.join(words)} failed: {said.decode(errors='replace').strip()}.",
            hint="Network namespaces may be forbidden here.",
            code="no-namespace",
        )


class Wire:
    """Makes the namespace and the line; both go when the block ends.

    Attributes:
        near: Address of this side.
        prefix: Words that run a program on the far side.
    """

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self._namespace, self._near, self._far = f"wtp-{tag}", f"wtp{tag}n", f"wtp{tag}f"
        subnet = secrets.randbelow(1 << 14) * 4
        base = f"10.203.{subnet >> 8}.{subnet & 255}".rpartition(".")
        first = int(base[2])
        self.near = f"{base[0]}.{first + 1}"
        self._far_address = f"{base[0]}.{first + 2}"
        self.prefix: Sequence[str] = ("ip", "netns", "exec", self._namespace)

    async def __aenter__(self) -> Self:
        check_root()
        inside = ("ip", "-n", self._namespace)
        await _call("ip", "netns", "add", self._namespace)
        try:
            await _call(
                "ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far,
                "netns", self._namespace,
            )  # fmt: skip
            await _call("ip", "addr", "add", f"{self.near}/30", "dev", self._near)
            await _call(*inside, "addr", "add", f"{self._far_address}/30", "dev", self._far)
            await _call("ip", "link", "set", self._near, "up")
            await _call(*inside, "link", "set", self._far, "up")
            await _call(*inside, "link", "set", "lo", "up")
        except BaseException:
            await self._remove()
            raise
        return self

    async def narrow(self, rate_bps: int) -> None:
        """Let the far side send no more than this."""
        await _call(
            "tc", "-n", self._namespace, "qdisc", "replace", "dev", self._far, "root", "tbf",
            "rate", f"{rate_bps}bit", "burst", str(BURST_BYTES), "latency", f"{BUFFER_MS}ms",
        )  # fmt: skip

    async def widen(self) -> None:
        """Take the limit away; what waits in the line is lost, as when a route changes."""
        await _call("tc", "-n", self._namespace, "qdisc", "del", "dev", self._far, "root")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._remove()

    async def _remove(self) -> None:
        await _call("ip", "netns", "del", self._namespace)
