"""Putting a received file in its place, without ever leaving the folder or following a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from wtp.errors import StorageError, UsageError
from wtp.transfer.faults import writing
from wtp.transfer.names import Names, fold, shown

MAX_LISTED = 64
"""Folders whose names are remembered, the last used ones."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Place:
    """The receiving folder. Every call blocks: for a thread.

    Args:
        folder: Is there.
        force: Whether files that are there, or differ only in case, may be replaced.
    """

    def __init__(self, folder: Path, *, force: bool) -> None:
        self._folder = folder
        self._force = force
        self._root = -1
        self._listed: OrderedDict[Names, dict[str, str]] = OrderedDict()

    def open(self) -> None:
        """Open the folder.

        Raises:
            StorageError: It cannot be read.
        """
        with writing(str(self._folder)):
            self._root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close it."""
        if self._root >= 0:
            os.close(self._root)
        self._root = -1

    def check(self, names: Names) -> None:
        """See whether a file may go there.

        Raises:
            UsageError: Something is there already, or a name differs from one only in case.
            StorageError: The way there leads over a link or a file.
        """
        with self._parent(names, make=False) as parent:
            if parent is not None:
                self._free(parent, names)

    def put(self, part: Path, names: Names) -> None:
        """Give a file its place; the part may be a second name of it afterwards.

        Raises:
            UsageError: Something is there already and `force` is false.
            StorageError: It cannot be written.
        """
        with self._parent(names, make=True) as parent, writing("/".join(names)):
            assert parent is not None  # noqa: S101 - was made
            if _is_there(parent, names[-1]) and _same(parent, names[-1], part):
                return  # a run before this one came so far
            self._free(parent, names)
            if self._force:
                _replace(part, parent, names[-1])
            else:
                _move(part, parent, names)
            self._names(parent, names[:-1])[fold(names[-1])] = names[-1]

    def make(self, names: Names) -> None:
        """Make a folder; one that is there is fine.

        Raises:
            UsageError: A name differs from one that is there only in case.
            StorageError: It cannot be made, or a file is in its place.
        """
        with self._parent((*names, ""), make=True):
            pass

    def size_and_time(self, names: Names) -> tuple[int, int] | None:
        """Size and time of change (µs) of a file that is there; None when there is none."""
        try:
            with self._parent(names, make=False) as parent:
                if parent is None:
                    return None
                info = os.stat(names[-1], dir_fd=parent, follow_symlinks=False)
        except (OSError, StorageError, UsageError):
            return None
        return info.st_size, info.st_mtime_ns // 1000

    @contextlib.contextmanager
    def _parent(self, names: Names, *, make: bool) -> Iterator[int | None]:
        """The folder a file is in, step by step from the root; None when it is not there."""
        here = os.dup(self._root)
        try:
            for depth in range(len(names) - 1):
                inner = self._step(here, names[: depth + 1], make=make)
                os.close(here)
                here = inner if inner is not None else -1
                if inner is None:
                    break
            yield None if here < 0 else here
        finally:
            if here >= 0:
                os.close(here)

    def _step(self, here: int, names: Names, *, make: bool) -> int | None:
        name = names[-1]
        self._same_case(here, names)
        try:
            return os.open(name, _FOLDER, dir_fd=here)
        except FileNotFoundError:
            if not make:
                return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise StorageError(
                    f"{shown('/'.join(names))} is a link or a file, where a folder is needed.",
                    hint="Choose another folder for --save.",
                    code="file-name",
                ) from error
            raise
        with writing("/".join(names)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=here)
            inner = os.open(name, _FOLDER, dir_fd=here)
        self._names(here, names[:-1])[fold(name)] = name
        return inner

    def _free(self, parent: int, names: Names) -> None:
        """See that nothing is there, or that it may be replaced."""
        self._same_case(parent, names)
        try:
            info = os.stat(names[-1], dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(info.st_mode):
            raise UsageError(
                f"{shown('/'.join(names))} is a folder here.",
                hint="Choose another folder for --save.",
                code="file-exists",
            )
        if not self._force:
            raise _exists(names)

    def _same_case(self, parent: int, names: Names) -> None:
        """See that no other name there differs only in case: on some systems it would be it."""
        if self._force:
            return
        known = self._names(parent, names[:-1]).get(fold(names[-1]), names[-1])
        if known != names[-1] and _is_there(parent, known):
            raise UsageError(
                f"{shown('/'.join(names))} differs from {shown(known)} only in case.",
                hint="Choose another folder for --save, or --force: one may replace the other.",
                code="file-exists",
            )

    def _names(self, parent: int, folder: Names) -> dict[str, str]:
        listed = self._listed.get(folder)
        if listed is None:
            with writing("/".join(folder)):
                listed = self._listed[folder] = {fold(name): name for name in os.listdir(parent)}
            if len(self._listed) > MAX_LISTED:
                self._listed.popitem(last=False)
        self._listed.move_to_end(folder)
        return listed


def _is_there(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return False
    return True


def _same(parent: int, name: str, part: Path) -> bool:
    try:
        theirs, ours = os.stat(name, dir_fd=parent, follow_symlinks=False), part.lstat()
    except OSError:
        return False
    return os.path.samestat(theirs, ours)


def _exists(names: Names) -> UsageError:
    return UsageError(
        f"{shown('/'.join(names))} is already there.",
        hint="--force replaces it; or choose another folder for --save.",
        code="file-exists",
    )


def _replace(part: Path, parent: int, name: str) -> None:
    """Give a file a name whoever has it; the part stays, so that a run after a kill knows it."""
    twin = part.with_suffix(".twin")
    try:
        twin.unlink(missing_ok=True)
        os.link(part, twin)
    except OSError:
        os.replace(part, name, dst_dir_fd=parent)
    else:
        os.replace(twin, name, dst_dir_fd=parent)


def _move(part: Path, parent: int, names: Names) -> None:
    """Give a file its name, only if nobody has that; a link does both at once."""
    try:
        os.link(part, names[-1], dst_dir_fd=parent)
    except FileExistsError:
        raise _exists(names) from None
    except OSError:  # a file system without links: somebody else may come between, not here
        os.replace(part, names[-1], dst_dir_fd=parent)
