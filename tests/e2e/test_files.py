"""Files through real processes: every one of them is killed once, all files arrive whole."""

from __future__ import annotations

import random
from pathlib import Path

from tests.e2e.stage import Run, Stage, Values, wait_for

MIB = 1 << 20


def noise(path: Path, size: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def transfer(status: Values) -> Values:
    """The transfer's figures out of a publisher's summary."""
    (track,) = status["tracks"].values()
    return dict(track["transfer"])


def receiver(stage: Stage, folder: Path, *args: str) -> Run:
    return stage.child("consume", "file", "--wait", "--save", str(folder), *args)


def chunks_in(folder: Path) -> int:
    """Chunks of unfinished files that the receiver has."""
    return sum(p.stat().st_size // 8 for p in (folder / ".wtp-files").glob("*.chunks"))


def test_files_arrive_whole_whatever_is_killed(stage: Stage) -> None:
    broker, router = stage.broker(), stage.router()
    here, there, spool = stage.folder / "here", stage.folder / "there", stage.home / "spool"
    big = noise(here / "big.bin", 64 * MIB + 11, 1)
    tree = here / "tree"
    noise(tree / "a.bin", MIB, 2)
    noise(tree / "deep" / "b\x1b.bin", 700, 3)
    noise(tree / "empty.bin", 0, 4)

    # The sender and the receiver die in the middle.
    into = receiver(stage, there)
    sender = stage.child("publish", "--name", "ann", "--file", str(big))
    wait_for(lambda: chunks_in(there) > 8, "some chunks at the receiver")
    wait_for(lambda: any(p.stat().st_size for p in spool.glob("*")), "some in the journal")
    stage.kill_hard(sender)
    stage.kill_hard(into)
    held = chunks_in(there)
    assert 8 < held < 65, "they were killed in the middle"
    assert not (there / "big.bin").exists()

    # Both go on where they were; now router and broker die.
    into = receiver(stage, there, "-n", "4")
    sender = stage.child("publish", "--name", "ann", "--file", str(big))
    wait_for(lambda: chunks_in(there) > held, "more chunks at the receiver")
    stage.kill_hard(router)
    stage.kill_hard(broker)
    stage.broker()
    stage.router()

    # Another publisher's files come between, past the router.
    past = ("publish", "--via", "pulsar-ws", "--name", "bob")
    second = stage.command(*past, "--file", str(tree))
    figures = transfer(sender.ended())
    assert second.wait() == 0, second.report()
    into.ended()
    assert figures["done"] == 1
    assert figures["resumed_bytes"] > 0
    assert figures["bytes"] == 64 * MIB + 11
    assert same(big, there / "big.bin")
    assert same(tree / "a.bin", there / "tree" / "a.bin")
    assert same(tree / "deep" / "b\x1b.bin", there / "tree" / "deep" / "b_.bin")
    assert (there / "tree" / "empty.bin").stat().st_size == 0
    assert list(spool.iterdir()) == []

    # Only what had no receipt was sent again.
    chunks = [m for m in stage.read("file") if m.properties.get("crc32c")]
    twice = sum(len(m.payload) for m in chunks) - 65 * MIB - 700 - 11
    assert 0 <= twice <= 24 * MIB

    # A late receiver gets everything; what is there already is not replaced without --force.
    late = stage.folder / "late"
    noise(late / "big.bin", 5, 5)
    refused = stage.command("consume", "file", "--save", str(late), "-n", "4")
    assert refused.wait() == 1, refused.report()
    assert "big.bin is already there. --force replaces it" in refused.stderr
    assert (late / "big.bin").stat().st_size == 5
    assert same(tree / "a.bin", late / "tree" / "a.bin")
