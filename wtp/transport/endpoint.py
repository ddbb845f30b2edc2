"""A UDP socket for QUIC on the event loop: drained in batches, with GSO and GRO where they exist.

The stock asyncio endpoint spends most of its time in one system call and one pass per datagram.
Here one wake-up reads up to 64 datagrams, the owner then makes one pass per touched connection,
and a connection's datagrams leave in one system call.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

from wtp.errors import UsageError, WtpError

logger = logging.getLogger(__name__)

Address = tuple[Any, ...]
"""What the socket module gives: (host, port) or (host, port, flow, scope)."""

SOCKET_BUFFER_BYTES = 4 << 20
"""Room for about 100 ms at 40 MB/s; measured need, see notes on QUIC."""
BATCH_DATAGRAMS = 64
"""Datagrams read per wake-up, so that one flood cannot starve the loop."""
_UDP_SEGMENT = 103  # linux/udp.h
_UDP_GRO = 104  # linux/udp.h
_SEGMENTS_MAX = 64  # UDP_MAX_SEGMENTS, linux/udp.h
_GSO_MAX_BYTES = 65000
_RECEIVE_BYTES = 65536
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3  # linux/in.h, linux/in6.h
_ANCILLARY_BYTES = socket.CMSG_SPACE(4)


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a literal address) is of this machine, IPv4-mapped forms included."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def plain_address(address: Address) -> tuple[str, int]:
    """Return (host, port) for people: no IPv4-mapped prefix, no flow and scope."""
    host, port = str(address[0]), int(address[1])
    return host.removeprefix("::ffff:") if "." in host else host, port


def bind_udp(host: str, port: int) -> socket.socket:
    """Return a non-blocking UDP socket bound to ``host`` (literal or name) and ``port``.

    Raises:
        UsageError: The name is unknown.
        WtpError: The address is taken or not of this machine.
    """
    try:
        found = socket.getaddrinfo(
            "127.0.0.1" if host == "localhost" else host,
            port,
            type=socket.SOCK_DGRAM,
            flags=socket.AI_PASSIVE,
        )
    except socket.gaierror as error:
        raise UsageError(
            f"The listen address {host} is unknown.", hint="Use an address of this machine."
        ) from error
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6 and host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise WtpError(
            f"Cannot listen on UDP {host}:{port}: {error.strerror}.",
            hint="Choose another port or address, or stop what uses it.",
            code="bind",
        ) from error
    return sock


def connect_udp(address: Address, family: int) -> socket.socket:
    """Return a non-blocking UDP socket connected to ``address``, so that ICMP errors arrive.

    Raises:
        OSError: There is no route, or the family is not available.
    """
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


class Endpoint:
    """Owns a non-blocking UDP socket.

    Args:
        sock: Bound, or connected to one peer.
        received: Called for every datagram with its bytes and sender.
        batch_done: Called once after each batch of ``received``.
        failed: Called with the socket's error (connected sockets: ICMP unreachable).
        offload: Use GSO and GRO when the kernel has them; False forces the plain path.
    """

    def __init__(
        self,
        sock: socket.socket,
        received: Callable[[bytes, Address], None],
        batch_done: Callable[[], None],
        failed: Callable[[OSError], None] | None = None,
        *,
        offload: bool = True,
    ) -> None:
        self.sent_dropped = 0
        self.gso = offload and _has_option(sock, _UDP_SEGMENT, 0)
        self.gro = offload and _has_option(sock, _UDP_GRO, 1)
        self._sock = sock
        self._received = received
        self._batch_done = batch_done
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        peer = _peer_name(sock)
        self._target: Address | None = None
        self._connected = peer is not None
        self.address: Address = sock.getsockname()
        self.peer: Address | None = peer
        _grow_buffers(sock)
        _forbid_fragments(sock)
        self._loop.add_reader(sock.fileno(), self._readable)

    def close(self) -> None:
        """Stop reading and close the socket; further sends are ignored."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def send(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send datagrams in order; what the kernel has no room for is lost, as on any network."""
        if self._sock.fileno() < 0:
            return
        if not self.gso or len(datagrams) == 1:
            for data, address in datagrams:
                self._send_one([data], address, ())
            return
        start, count = 0, len(datagrams)
        while start < count:
            first, address = datagrams[start]
            size = len(first)
            end, total = start + 1, size
            while (
                end < count
                and end - start < _SEGMENTS_MAX
                and datagrams[end][1] == address
                and len(datagrams[end][0]) <= size
                and total + len(datagrams[end][0]) <= _GSO_MAX_BYTES
            ):
                last = len(datagrams[end][0])
                end, total = end + 1, total + last
                if last < size:
                    break
            self._send_run([data for data, _ in datagrams[start:end]], address, size)
            start = end

    def _send_run(self, run: list[bytes], address: Address, size: int) -> None:
        if len(run) == 1 or not self.gso:
            for data in run:
                self._send_one([data], address, ())
            return
        segment = ((socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("H", size)),)
        if not self._send_one(run, address, segment):
            logger.warning("UDP segmentation offload failed; continuing without it")
            self.gso = False
            self._send_run(run, address, size)

    def _send_one(self, buffers: list[bytes], address: Address, ancillary: Any) -> bool:
        """Send; False only when offloaded sending is impossible on this path."""
        try:
            self._sock.sendmsg(buffers, ancillary, 0, *(() if self._connected else (address,)))
        except BlockingIOError:
            self.sent_dropped += len(buffers)
        except OSError as error:
            if ancillary and error.errno in (errno.EINVAL, errno.EIO, errno.EMSGSIZE):
                return False
            self.sent_dropped += len(buffers)
            self._report(error)
        return True

    def _readable(self) -> None:
        budget = BATCH_DATAGRAMS
        try:
            while budget > 0:
                size, ancillary, _, address = self._sock.recvmsg_into(
                    [self._buffer], _ANCILLARY_BYTES if self.gro else 0
                )
                budget -= self._deliver(size, ancillary, address or self.peer or ())
        except BlockingIOError:
            pass
        except OSError as error:
            self._report(error)
        self._batch_done()

    def _deliver(self, size: int, ancillary: list[Any], address: Address) -> int:
        segment = size
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_UDP and kind == _UDP_GRO:
                segment = int.from_bytes(value[:4], sys.byteorder)
        if not 0 < segment < size:
            self._received(bytes(self._view[:size]), address)
            return 1
        count = 0
        for start in range(0, size, segment):
            self._received(bytes(self._view[start : min(start + segment, size)]), address)
            count += 1
        return count

    def _report(self, error: OSError) -> None:
        if self._failed is not None and error.errno != errno.EMSGSIZE:
            self._failed(error)


def _peer_name(sock: socket.socket) -> Address | None:
    try:
        name: Address = sock.getpeername()
    except OSError:
        return None
    return name


def _has_option(sock: socket.socket, option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(socket.IPPROTO_UDP, option, value)
    except OSError:
        return False
    return True


def _grow_buffers(sock: socket.socket) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with contextlib.suppress(OSError):  # macOS refuses instead of granting less
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if sys.platform == "linux":
        granted //= 2  # it reports twice what it granted, socket(7)
    if granted < SOCKET_BUFFER_BYTES:
        logger.warning(
            "The kernel granted a UDP receive buffer of %d KiB of %d KiB; "
            "raise net.core.rmem_max to avoid losses under load",
            granted >> 10,
            SOCKET_BUFFER_BYTES >> 10,
        )


def _forbid_fragments(sock: socket.socket) -> None:
    """Set the don't-fragment bit: an MTU probe that is cut to pieces proves nothing."""
    if sys.platform != "linux":
        return
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    except OSError:
        logger.debug("no control over fragmentation on this system")
