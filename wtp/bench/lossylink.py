"""A network of its own for two processes, with seeded loss and delay for every IP packet.

Where the kernel can drop packets itself (netem) a link is one command; many machines cannot. Here
two network namespaces are joined by TUN devices, and a small process carries each IP packet from
one to the other, or drops it: TCP and UDP meet the same loss. Nothing of it touches the machine's
own network, and namespaces and devices end with the processes that use them, also when these are
killed. Without loss and delay both ends share one namespace and the kernel's loopback.

Linux only; needs root or user namespaces (`unshare -rn` works for the user).
"""

from __future__ import annotations

import ctypes
import fcntl
import multiprocessing
import os
import random
import select
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from wtp.errors import UsageError, WtpError

SENDER, RECEIVER = "10.77.0.1", "10.77.0.2"
MTU_BYTES = 1500
"""As Ethernet; loopback's own 64 KB would flatter whoever uses it."""
QUEUE_PACKETS = 2000
"""What waits in one direction at most; more is dropped at the tail, and counted."""
BURST = 64
"""Packets read from one end before the other has its turn."""
START_S = 20.0

# linux/sched.h, linux/if_tun.h, linux/sockios.h, linux/if.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU = 0x8914, 0x8916, 0x891C, 0x8922
_IFF_UP, _IFF_RUNNING = 0x1, 0x40

_IPV4 = 4
_TCP_KNOWN = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
_TCP_CONTROL = "/proc/sys/net/ipv4/tcp_congestion_control"


@dataclass(frozen=True, slots=True)
class Weather:
    """What a link does to packets.

    Attributes:
        loss: Share of the IP packets that is dropped, 0 to 1, each way.
        delay_ms: Added to each packet, each way.
        seed: Decides which packets are dropped: the n-th of a direction has one fate per seed.
        tcp: TCP's congestion control in both namespaces; empty: this machine's.
    """

    loss: float = 0.0
    delay_ms: float = 0.0
    seed: int = 1
    tcp: str = ""

    @property
    def clean(self) -> bool:
        """Whether nothing is done, so that the kernel's loopback will do."""
        return not self.loss and not self.delay_ms

    def __str__(self) -> str:
        if self.clean:
            return "clean"
        return f"{self.loss * 100:g} % loss, {self.delay_ms:g} ms each way"


class Lane:
    """One direction of a link: decides each packet's fate and holds it for the delay. Pure.

    Args:
        weather: Loss, delay and seed.
        name: Tells the directions apart, which have fates of their own.

    Attributes:
        carried: Packets that left at the other end.
        lost: Packets that the weather took.
        overflowed: Packets for which there was no room.
    """

    def __init__(self, weather: Weather, name: str) -> None:
        self.carried = self.lost = self.overflowed = 0
        self._loss = weather.loss
        self._delay_s = weather.delay_ms / 1000
        self._draw = random.Random(f"{weather.seed}/{name}").random  # noqa: S311 - no secret
        self._waiting: deque[tuple[float, bytes]] = deque()

    def offer(self, packet: bytes, now: float) -> None:
        """Take a packet; the kernel's own IPv6 chatter neither passes nor uses up a fate."""
        if not packet or packet[0] >> 4 != _IPV4:
            return
        if self._draw() < self._loss:
            self.lost += 1
        elif len(self._waiting) >= QUEUE_PACKETS:
            self.overflowed += 1
        else:
            self._waiting.append((now + self._delay_s, packet))

    def due(self, now: float) -> list[bytes]:
        """Packets whose time has come, in order."""
        out = []
        while self._waiting and self._waiting[0][0] <= now:
            out.append(self._waiting.popleft()[1])
        self.carried += len(out)
        return out

    @property
    def next_s(self) -> float | None:
        """When the next packet is due; None while nothing waits."""
        return self._waiting[0][0] if self._waiting else None


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace as another process finds it.

    Attributes:
        net: Path of the namespace below /proc; empty: the machine's own network.
        user: Path of the user namespace it belongs to; empty: this one.
    """

    net: str = ""
    user: str = ""

    def enter(self) -> None:
        """Move this process there; before it has threads.

        Raises:
            OSError: The place is gone.
        """
        for path, kind in ((self.user, _CLONE_NEWUSER), (self.net, _CLONE_NEWNET)):
            if path:
                handle = os.open(path, os.O_RDONLY)
                try:
                    _call("setns", handle, kind)
                finally:
                    os.close(handle)


def _call(name: str, *numbers: int) -> None:
    """Call a function of the C library that Python 3.11 lacks."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        raise OSError(f"{name} does not exist on this system")
    if function(*numbers):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def start_process(main: Callable[..., None], *arguments: Any) -> tuple[Connection, Any]:
    """Start a process that ends with the pipe it is given, and not by Ctrl-C on its own.

    Args:
        main: Its main function; gets the pipe first.
        arguments: The others.

    Returns:
        Our end of the pipe, and the process.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=main, args=(theirs, *arguments), daemon=True)
    # A process inherits what is blocked; an interrupt meanwhile arrives here afterwards.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return ours, process


class Stage:
    """The two places and the process that carries packets between them; a context.

    Args:
        weather: What happens to packets.

    Attributes:
        sender: Where the sending process belongs.
        receiver: Where the receiving process belongs.
        figures: After the end: packets `carried`, `lost` and `overflowed`, both ways together.

    Raises:
        WtpError: The rights are missing, or this is not Linux (code `no-link`).
    """

    def __init__(self, weather: Weather) -> None:
        self._pipe, self._process = start_process(_main, weather)
        self.figures: dict[str, int] = {}
        try:
            if not self._pipe.poll(START_S):
                raise EOFError
            answer = self._pipe.recv()
        except EOFError:
            answer = "its process died or fell silent"
        if isinstance(answer, str):
            self.close()
            raise WtpError(
                f"There is no link with loss here: {answer}.",
                hint="Run it on Linux as root, or allow user namespaces and /dev/net/tun.",
                code="no-link",
            )
        self.sender, self.receiver = answer

    def close(self) -> None:
        """End the link; what still uses its namespaces keeps them until it ends."""
        with suppress(OSError, EOFError):
            self._pipe.send("end")
            if self._pipe.poll(2.0):
                self.figures = self._pipe.recv()
        self._pipe.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _main(pipe: Connection, weather: Weather) -> None:
    """The process of a link; ends with its pipe."""
    try:
        user = _leave()
        places, ends = (_one(user), ()) if weather.clean else _two(user)
        if weather.tcp:
            _set_tcp(places, weather.tcp)
    except OSError as error:
        pipe.send(error.strerror or str(error))
        return
    pipe.send(places)
    lanes = (Lane(weather, "there"), Lane(weather, "back"))
    with suppress(EOFError):
        _carry(pipe, ends, lanes)
        pipe.recv()
        names = ("carried", "lost", "overflowed")
        pipe.send({name: sum(getattr(lane, name) for lane in lanes) for name in names})


def _leave() -> str:
    """Leave the machine's network for a new one; returns the user namespace's path, if new."""
    try:
        _call("unshare", _CLONE_NEWNET)
    except PermissionError:
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
        return f"/proc/{os.getpid()}/ns/user"
    return ""


def _here(user: str) -> Place:
    """The present network namespace, kept open for others to enter."""
    handle = os.open("/proc/self/ns/net", os.O_RDONLY)
    return Place(f"/proc/{os.getpid()}/fd/{handle}", user)


def _one(user: str) -> tuple[Place, Place]:
    _set_up("lo", "lo:1", SENDER)
    _set_up("lo", "lo:2", RECEIVER)
    return _here(user), _here(user)


def _two(user: str) -> tuple[tuple[Place, Place], tuple[int, int]]:
    """Two namespaces, each with loopback and one end of the link."""
    places: list[Place] = []
    ends: list[int] = []
    for address in (SENDER, RECEIVER):
        if ends:
            _call("unshare", _CLONE_NEWNET)
        _set_up("lo")
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", b"wtp0", _IFF_TUN | _IFF_NO_PI))
        _set_up("wtp0", "wtp0", address)
        places.append(_here(user))
        ends.append(end)
    return (places[0], places[1]), (ends[0], ends[1])


def _set_up(device: str, label: str = "", address: str = "") -> None:
    """Give a device its packet size and an address, and switch it on."""
    name = device.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:

        def set_address(request: int, value: str) -> None:
            parts = (label.encode(), socket.AF_INET, socket.inet_aton(value))
            fcntl.ioctl(sock, request, struct.pack("16sH2x4s8x", *parts))

        fcntl.ioctl(sock, _SIOCSIFMTU, struct.pack("16si20x", name, MTU_BYTES))
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", name, _IFF_UP | _IFF_RUNNING))
        if address:
            set_address(_SIOCSIFADDR, address)
            set_address(_SIOCSIFNETMASK, "255.255.255.0")


def _set_tcp(places: tuple[Place, Place], name: str) -> None:
    for place in places:
        Place(place.net).enter()
        Path(_TCP_CONTROL).write_text(name, encoding="ascii")


def tcp_control() -> str:
    """TCP's congestion control in this network namespace; empty where it cannot be told."""
    try:
        return Path(_TCP_CONTROL).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def check_tcp(name: str) -> None:
    """See that a namespace may use TCP's congestion control of that name; empty: this machine's.

    Raises:
        UsageError: It may not; the hint lists those that may.
    """
    try:
        known = Path(_TCP_KNOWN).read_text(encoding="ascii").split()
    except OSError:
        known = []
    if name and name not in known:
        raise UsageError(
            f"TCP's congestion control {name!r} cannot be chosen here.",
            hint=f"Possible: {', '.join(known) or 'none'}; see {_TCP_KNOWN}.",
        )


def _carry(pipe: Connection, ends: tuple[int, ...], lanes: tuple[Lane, Lane]) -> None:
    """Carry packets until the pipe says something or ends."""
    now: Callable[[], float] = time.monotonic
    ways = [(ends[0], ends[1], lanes[0]), (ends[1], ends[0], lanes[1])] if ends else []
    watched: list[Any] = [*ends, pipe]
    while True:
        times = [lane.next_s for lane in lanes if lane.next_s is not None]
        wait_s = max(0.0, min(times) - now()) if times else None
        readable, _, _ = select.select(watched, [], [], wait_s)
        if pipe in readable:
            return
        for source, target, lane in ways:
            if source in readable:
                with suppress(BlockingIOError):
                    for _ in range(BURST):
                        lane.offer(os.read(source, 65536), now())
            for packet in lane.due(now()):
                with suppress(OSError):  # full, or its process has just ended
                    os.write(target, packet)
