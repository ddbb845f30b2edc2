"""Runs one command for as long as another process lives.

    python -I tests/pulsar_guard.py OWNER_PID FOLDER COMMAND...

Prints the command's process id and returns at once; a copy of itself stays behind, ends when the
command ends, and kills the command and removes FOLDER with its locks when the owner ends first,
however it ends. Standard library only, since it runs without the project's packages. Linux (pidfd).
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

LOG = "pulsar.log"
"""Where the command's output goes, inside the folder."""


def guard(owner: int, folder: Path, command: list[str], answer: int) -> None:
    """Start the command, write its pid to the descriptor `answer`, wait for the first end."""
    owner_end = os.pidfd_open(owner)
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    os.write(answer, b"%d\n" % process.pid)
    os.close(answer)
    own_end = os.pidfd_open(process.pid)
    ended, _, _ = select.select([owner_end, own_end], [], [])
    if owner_end in ended:
        process.kill()
    process.wait()
    if owner_end in ended:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            for lock in folder.parent.glob(f"{folder.name}.*"):
                lock.unlink()
            folder.parent.rmdir()


def main() -> None:
    """Detach, then guard."""
    owner, folder = int(sys.argv[1]), Path(sys.argv[2])
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading) as answer:
            pid = answer.readline()
        sys.stdout.write(pid)
        sys.exit(0 if pid else 1)
    os.close(reading)
    os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    guard(owner, folder, sys.argv[3:], writing)


if __name__ == "__main__":
    main()
