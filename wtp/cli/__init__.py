"""The command line: a static table of commands, imported only when chosen."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("wtp.cli.demo", "See everything run on this machine, with live latency."),
    "router": ("wtp.cli.router", "Receive WebTransport sessions and forward them to the broker."),
    "broker": ("wtp.cli.broker", "Run the embedded broker, which speaks Pulsar's protocol."),
    "publish": (
        "wtp.cli.publish",
        "Send cameras, sound, screens, videos, files, chat or data.",
    ),
    "consume": (
        "wtp.cli.consume",
        "Read a room's media, chat, files or data from the broker.",
    ),
    "watch": ("wtp.cli.watch", "See and hear a whole room, in step."),
    "chat": ("wtp.cli.chat", "Talk with a room: its lines and yours in one terminal."),
    "record": ("wtp.cli.record", "Record a room to mp4, mkv or webm, live or after the event."),
    "replay": ("wtp.cli.replay", "Play the past of a room, all tracks in step."),
    "processor": ("wtp.cli.processor", "Apply code to objects, in the path or topic to topic."),
    "topics": ("wtp.cli.topics", "Create, list, describe and delete topics."),
    "devices": ("wtp.cli.devices", "List cameras, microphones, speakers, screens and encoders."),
    "certs": ("wtp.cli.certs", "Create and show the router's development certificate."),
    "dashboard": ("wtp.cli.dashboard", "Watch routers, tracks, latencies and brokers live."),
    "bench": ("wtp.cli.bench", "Measure latency and throughput, against a direct baseline."),
    "doctor": ("wtp.cli.doctor", "Look for what is wrong here, and say how to mend it."),
}
"""Command name to the module that holds its Typer `app`, and its line in `wtp --help`."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells count."""


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line and exit with its code.

    Args:
        args: Words after `wtp`; default: those of this process.
    """
    try:
        from wtp.cli.group import invoke

        code = invoke(sys.argv[1:] if args is None else list(args))
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(_flushed(code))


def _flushed(code: int) -> int:
    """Flush what was printed; a reader that has gone is no fault (`| head`)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            discard(stream.fileno())
    return code


def discard(descriptor: int) -> None:
    """Point a file descriptor at nothing, so that later writes to it cannot fail."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
