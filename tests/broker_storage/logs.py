"""What the storage tests share: logs without a store, and message blobs."""

from __future__ import annotations

from pathlib import Path

from wtp.broker.embedded.appender import LogOptions
from wtp.broker.embedded.log import TopicLog
from wtp.broker.embedded.tail import TailBudget
from wtp.broker.embedded.values import EARLIEST, Entry, FsyncPolicy, Position

TOPIC = "persistent://public/default/video"


class Logs:
    """Opens logs in one folder again and again, as a broker that is killed and started does."""

    def __init__(self, folder: Path, *, segment_bytes: int = 64 * 1024 * 1024) -> None:
        self.folder = folder
        self.damage: list[str] = []
        self.dropped: list[Position] = []
        self.segment_bytes = segment_bytes
        self._ledger = 0

    def new_ledger(self, newest: int) -> int:
        self._ledger = max(self._ledger, newest) + 1
        return self._ledger

    def open(
        self, fsync: FsyncPolicy = FsyncPolicy.NEVER, budget: TailBudget | None = None
    ) -> TopicLog:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = LogOptions(
            fsync,
            self.new_ledger,
            self.segment_bytes,
            budget or TailBudget(),
            report=self.damage.append,
            before_drop=lambda topic, position: self.dropped.append(position),
        )
        return TopicLog(TOPIC, self.folder, options)

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*.seg"))

    def forget_indexes(self) -> None:
        for path in self.folder.glob("*.idx"):
            path.unlink()


def read_all(log: TopicLog, batch: int = 7) -> list[Entry]:
    """Everything in a log, read as a consumer that lags behind does."""
    found: list[Entry] = []
    at = EARLIEST
    while entries := log.read(at, batch, 1 << 20):
        found += entries
        at = log.next_position(entries[-1].position)
        assert at > entries[-1].position
    return found


def kill(log: TopicLog) -> None:
    """Let go of a log's files as kill -9 does: nothing is written any more."""
    log._appender.syncing.retire()


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def blob(producer: str, sequence: int, payload: bytes = b"payload", *, extra: bytes = b"") -> bytes:
    """A message as a producer sends it: metadata with name, sequence id and publish time."""
    name = producer.encode()
    metadata = b"\x0a" + varint(len(name)) + name + b"\x10" + varint(sequence) + b"\x18\x05" + extra
    return b"\x0e\x01\0\0\0\0" + len(metadata).to_bytes(4) + metadata + payload
