"""Logs for machines: one JSON object a line on stderr (`--log-format json`).

Every line has `ts` (RFC 3339, UTC), `level`, `logger` and `message`; errors also `code` and `hint`.
There are no status lines: figures are to be had with `--metrics`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from wtp.cli.face import Face
from wtp.cli.group import leaf
from wtp.errors import WtpError

Snapshot = dict[str, Any]

log = logging.getLogger("wtp")


class JsonLines(logging.Handler):
    """Log records as JSON.

    Args:
        write: Takes a line without its end.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; it never raises."""
        error = record.exc_info[1] if record.exc_info else None
        more = dict(getattr(record, "fields", {}))
        if error is not None:
            more.update(error_fields(error))
            if os.environ.get("WTP_DEBUG"):
                more["traceback"] = logging.Formatter().formatException(record.exc_info)  # type: ignore[arg-type]  # set with `error`
        self._write(
            json_line(record.levelname, record.name, message_of(record), record.created, **more)
        )


def message_of(record: logging.LogRecord) -> str:
    """A record's sentence, also when its arguments do not fit."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return str(record.msg)


def json_line(level: str, logger: str, message: str, at_s: float, **more: Any) -> str:
    """One line; what is no plain value is written as text."""
    ts = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
    values = {
        "ts": ts.replace("+00:00", "Z"),
        "level": level.lower(),
        "logger": logger,
        "message": message,
        **more,
    }
    return json.dumps(values, default=str)


def error_fields(error: BaseException) -> dict[str, Any]:
    """Code and hint of an error; the name of a foreign one."""
    cause = leaf(error)
    if isinstance(cause, WtpError):
        return {"code": cause.code, "hint": cause.hint}
    return {"code": "fault", "error": f"{type(cause).__name__}: {cause}"}


class JsonFace(Face):
    """No status and no summary: log lines, of which `ready` and the error at the end are two.

    Args:
        quiet: Leave `ready` out.
        output: "json" prints the last snapshot as one object on stdout at the end.
    """

    def __init__(self, *, quiet: bool, output: str) -> None:
        super().__init__()
        self._quiet, self._output = quiet, output

    def ready(self, info: Snapshot) -> None:
        """A log line with the role's info."""
        if not self._quiet:
            log.info("ready", extra={"fields": {"info": info}})

    def ended(self, snapshot: Snapshot) -> None:
        """The summary as an object on stdout, where that was asked for."""
        if self._output == "json":
            sys.stdout.write(json.dumps(snapshot, default=str) + "\n")
            sys.stdout.flush()

    def failed(self, error: Exception) -> int | None:
        """A log line with code and hint."""
        cause = leaf(error)
        if not isinstance(cause, WtpError):
            log.error("Unexpected %s: %s", type(cause).__name__, cause, exc_info=error)
            return 1
        log.error("%s", cause.message, exc_info=error)
        return cause.exit_code


@contextlib.contextmanager
def everything_logged(*, wanted: bool) -> Iterator[None]:
    """Log what Python itself would write to stderr: warnings, faults of threads and destructors."""
    if not wanted:
        yield
        return
    before = sys.unraisablehook, threading.excepthook

    def unraisable(about: Any) -> None:
        log.error("a fault that could not be raised", exc_info=about.exc_value)

    def thread_fault(about: Any) -> None:
        log.error("a thread failed", exc_info=about.exc_value)

    logging.captureWarnings(True)
    sys.unraisablehook, threading.excepthook = unraisable, thread_fault
    try:
        yield
    finally:
        logging.captureWarnings(False)
        sys.unraisablehook, threading.excepthook = before
