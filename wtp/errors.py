"""The one error tree. Foreign errors are translated into it once, at the border they cross.

WtpError
├── UsageError            an argument makes no sense                      exit 2
├── ConfigError           a profile is unknown, or wrong at a line        exit 2
├── WireError             bytes from a peer break the wire format         exit 1
├── MediaError            a device, file or codec cannot be used          exit 1
│   └── MissingLibrary    a system library or extra is not installed      exit 1
├── StorageError          a data folder is locked, full or read-only      exit 1
├── BrokerError           the broker refused                              exit 1
│   ├── NotFound          no such topic, subscription or namespace        exit 1
│   └── BrokerUnavailable nothing usable answers at the broker URL        exit 3
├── ConnectionFailed      no session with a router                        exit 3
├── Refused               the peer said no, with a code and a sentence    exit 4
└── ObjectiveMissed       a bench objective does not hold                 exit 5
"""

from __future__ import annotations


class WtpError(Exception):
    """An error with a code for programs and a sentence for people.

    Args:
        message: One sentence that says what is wrong.
        hint: What to do next, one sentence or a command to paste; may be empty.
        code: A short stable word in kebab-case; the class has a default.
    """

    code = "error"
    exit_code = 1
    close_code = 0x1

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(WtpError):
    """An argument or a combination of arguments makes no sense."""

    code = "usage"
    exit_code = 2


class ConfigError(WtpError):
    """A profile is unknown or wrong; the message names file and line."""

    code = "config"
    exit_code = 2


class WireError(WtpError):
    """Bytes from a peer do not follow the wire format; ends that peer's session."""

    code = "bad-wire"
    close_code = 0x10


class MediaError(WtpError):
    """A device, a file or a codec cannot be used."""

    code = "media"


class MissingLibrary(MediaError):
    """A system library or an optional package is absent; the hint names the package."""

    code = "missing-library"


class StorageError(WtpError):
    """A data folder is locked, full, read-only or damaged."""

    code = "storage"


class BrokerError(WtpError):
    """The broker refused an operation."""

    code = "broker"


class NotFound(BrokerError):
    """A topic, subscription or namespace does not exist."""

    code = "not-found"


class BrokerUnavailable(BrokerError):
    """Nothing usable answers at the broker URL."""

    code = "broker-unavailable"
    exit_code = 3
    close_code = 0x20


class ConnectionFailed(WtpError):
    """No session with a router could be made, or it was lost for good."""

    code = "connect"
    exit_code = 3


class Refused(WtpError):
    """The peer said no."""

    code = "refused"
    exit_code = 4
    close_code = 0x11


class ObjectiveMissed(WtpError):
    """A bench objective does not hold."""

    code = "objective"
    exit_code = 5
