"""The process that user code runs in: `python -m wtp.processor.child FD [MAX_MEMORY_BYTES]`.

It takes one object at a time from the socket with that number and answers each. It ends with the
socket, and with its parent; what the code prints goes to stderr.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import resource
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from wtp.errors import WtpError
from wtp.model import Kind
from wtp.processor.call import Caller
from wtp.processor.code import CodeSpec
from wtp.processor.load import load
from wtp.processor.pipe import Reader, What, pack
from wtp.wire.process import Parcel, encode_several

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal a process gets when its parent ends."""


def main(arguments: list[str]) -> None:
    """Serve one parent until it closes the socket."""
    sock = socket.socket(fileno=int(arguments[0]))
    _end_with_parent()
    _bound_memory(int(arguments[1]) if len(arguments) > 1 else 0)
    faulthandler.enable()
    try:
        reader = Reader(sock)
        caller = _load(sock, reader)
        if caller is not None:
            _serve(sock, reader, caller)
    except (BrokenPipeError, ConnectionResetError):
        pass
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads and exit functions of user code are not waited for


def _load(sock: socket.socket, reader: Reader) -> Caller | None:
    """Load the code that the first frame names."""
    frame = reader.next()
    if frame is None:
        return None
    _, meta, _ = frame
    try:
        spec = CodeSpec.parse(meta["code"])
        loaded = load(spec, Kind(meta["kind"]), meta["source"])
    except WtpError as error:
        _send(sock, What.FAILED, _told(error))
        return None
    _send(sock, What.READY, {"file": loaded.file})
    gc.freeze()
    return Caller(loaded, spec.name)


def _serve(sock: socket.socket, reader: Reader, caller: Caller) -> None:
    while (frame := reader.next()) is not None:
        _, meta, payload = frame
        start_ns = perf_counter_ns()
        try:
            made, reason = caller.call(Parcel(meta["track"], meta["properties"], payload))
        except WtpError as error:
            _send(sock, What.FAILED, _told(error))
            continue
        body = encode_several(made, "binary")[1] if made else b""
        took_us = (perf_counter_ns() - start_ns) // 1000
        _send(sock, What.RESULT, {"us": took_us, "reason": reason}, body)


def _told(error: WtpError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _send(sock: socket.socket, what: What, meta: dict[str, Any], payload: bytes = b"") -> None:
    pieces = pack(what, meta, payload)
    sent = sock.sendmsg(pieces)
    whole = sum(map(len, pieces))
    if sent < whole:
        sock.sendall(memoryview(b"".join(pieces))[sent:])


def _end_with_parent() -> None:
    """End when the parent does, even while the code hangs.

    Linux sends a signal; elsewhere a thread sees the end of stdin, which the parent holds open.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="life-line").start()


def _bound_memory(most_bytes: int) -> None:
    """Let the code run out of memory before the machine does."""
    if most_bytes:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    with suppress(OSError):  # should it come to that, this process is to go, not the broker
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1:])
