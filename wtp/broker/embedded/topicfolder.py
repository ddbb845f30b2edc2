"""The folder of one persistent topic, and how it is named."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from wtp.broker.embedded.appender import LogOptions
from wtp.broker.embedded.cursors import CursorFile
from wtp.broker.embedded.files import disk_error, read_json, sync_folder, write_json
from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.sequences import SequenceFile
from wtp.broker.embedded.values import FsyncPolicy
from wtp.broker.naming import parse_topic
from wtp.errors import UsageError

MAX_FOLDER_CHARS = 150
"""Longer folder names are shortened to a hash: file systems end at 255 bytes."""

TRASH = ".trash-"
"""Prefix of a topic folder that is being deleted."""


def folder_name(local: str) -> str:
    """Return the folder name for the last part of a topic name."""
    text = quote(local, safe="").replace(".", "%2E") if local[:1] == "." else quote(local, safe="")
    if len(text) <= MAX_FOLDER_CHARS:
        return text
    return f"{text[:60]}~~{hashlib.sha256(local.encode()).hexdigest()[:40]}"


class TopicFolder:
    """What the data folder holds for one topic: settings, log, cursors, sequences.

    Args:
        name: Complete topic name.
        path: Its folder.
        options: What the logs share.

    Attributes:
        name: Complete topic name.
        path: Its folder.
        log: The log while it is open.
        cursors: Its durable subscriptions.
        sequences: Its producers' sequence ids.
        policies: Policies set on this topic.
    """

    def __init__(self, name: str, path: Path, options: LogOptions) -> None:
        self.name = name
        self.path = path
        self.log: TopicLog | None = None
        self._options = options
        self._sync = options.fsync is not FsyncPolicy.NEVER
        report = options.report
        found = read_json(path / "topic.json", report)
        self.policies: dict[str, Any] = found["policies"] if found else {}
        self.cursors = CursorFile(path / "cursors.json", sync=self._sync, report=report)
        self.sequences = SequenceFile(path / "sequences.json", sync=self._sync, report=report)

    @classmethod
    def create(cls, name: str, path: Path, options: LogOptions) -> TopicFolder:
        """Make a folder for a topic.

        Raises:
            StorageError: The disk refuses.
        """
        sync = options.fsync is not FsyncPolicy.NEVER
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o750)
        except OSError as error:
            raise disk_error("create", path, error) from error
        write_json(path / "topic.json", {"name": name, "policies": {}}, sync=sync)
        if sync:
            for parent in (path.parent, path.parent.parent, path.parent.parent.parent):
                sync_folder(parent)
        return cls(name, path, options)

    def open_log(self) -> TopicLog:
        """Return the log, opened when it is not."""
        if self.log is None:
            self.log = TopicLog(self.name, self.path, self._options)
        return self.log

    def set_policy(self, name: str, value: object) -> None:
        """Set one policy, or remove it with None."""
        policies = {**self.policies, name: value}
        self.policies = {key: kept for key, kept in policies.items() if kept is not None}
        content = {"name": self.name, "policies": self.policies}
        write_json(self.path / "topic.json", content, sync=self._sync)

    def flush(self, *, force: bool = False) -> None:
        """Write cursors and sequences that changed.

        Raises:
            StorageError: The disk refuses; the next flush tries again.
        """
        self.cursors.flush(force=force)
        log = self.log
        if log is not None and self._sync and self.sequences.due:
            log.sync()  # A snapshot must not know more than the log after a power cut.
        self.sequences.flush()

    def close(self) -> None:
        """Close the log and write everything."""
        if self.log is not None:
            self.log.close()
            self.log = None
        self.flush(force=True)

    def delete(self) -> None:
        """Remove the folder with all that is in it, in one step as far as a kill can see.

        Raises:
            StorageError: The disk refuses.
        """
        if self.log is not None:
            self.log.close()
            self.log = None
        self.cursors.discard()
        self.sequences.discard()
        trash = self.path.with_name(f"{TRASH}{os.urandom(6).hex()}")
        try:
            os.rename(self.path, trash)
        except OSError as error:
            raise disk_error("delete", self.path, error) from error
        shutil.rmtree(trash, ignore_errors=True)


def find_topics(root: Path, report: Callable[[str], None]) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of each topic below `root`; removes what deletions left.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        folders = sorted(root.glob("*/*/*"))
    except OSError as error:
        raise disk_error("read", root, error) from error
    for path in folders:
        if path.name.startswith(TRASH):
            shutil.rmtree(path, ignore_errors=True)
            continue
        name = _name_of(path, report)
        if name is not None:
            yield name, path


def _name_of(path: Path, report: Callable[[str], None]) -> str | None:
    if not path.is_dir():
        return None
    found = read_json(path / "topic.json", report)
    guess = f"persistent://{path.parent.parent.name}/{path.parent.name}/{unquote(path.name)}"
    name = found["name"] if found else guess
    try:
        topic = parse_topic(name)
    except UsageError:
        topic = None
    if topic is None or folder_name(topic.local) != path.name:
        report(f"{path} is not a topic's folder (topic.json, offset 0); it is left alone.")
        return None
    return str(topic)
