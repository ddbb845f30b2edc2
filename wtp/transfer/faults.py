"""What the operating system says about files, as errors of ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from wtp.errors import MediaError, StorageError
from wtp.transfer.names import shown


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Translate a fault of a file that is to be sent.

    Raises:
        MediaError: It cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise MediaError(
            f"{shown(name)} cannot be read: {error.strerror or error}.",
            hint="Check the path and its access rights.",
        ) from error


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Translate a fault of a file that is being received or of a journal.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        hint = "Check the folder and its access rights."
        if isinstance(error, FileExistsError | NotADirectoryError):
            hint = "A file is in the way: give a folder."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Free some space and start again; what has come is kept and goes on from there."
        raise StorageError(f"{shown(name)}: {error.strerror or error}.", hint=hint) from error
