"""The official Java clients, unmodified: they see the same with each broker.

tests/contract/java holds what they do; here stands what has to come out.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.contract.brokers import Target
from tests.pulsar import LOG4J
from tests.pulsar_jars import jars

pytestmark = [pytest.mark.pulsar, pytest.mark.tool("javac"), pytest.mark.timeout(240)]

SOURCES = Path(__file__).parent / "java"
COMPILE_S = 90
RUN_S = 150

READING = {"camera": "küche", "frame": 7}
EXPECTED: dict[str, Any] = {
    "message": {
        "text": "hello",
        "key": "k",
        "properties": {"a": "1"},
        "eventTime": 1234567,
        "sameId": True,
        "sequence": 0,
        "redeliveries": 0,
    },
    "batch": {"sizes": [25, 25, 25, 25], "entries": [0, 1, 2, 3], "inOrder": True},
    "chunk": {"same": True},
    "compression": dict.fromkeys(("LZ4", "NONE", "SNAPPY", "ZLIB", "ZSTD"), True),
    "json": {**READING, "version": 0},
    "avro": {**READING, "version": 0},
    "autoConsume": READING,
    "incompatible": "IncompatibleSchemaException",
    "reader": {
        "all": 10,
        "behind": ["m8", "m9"],
        "from": ["m7", "m8", "m9"],
        "atEnd": False,
        "sought": "m9",
    },
    "tableView": {"a": "3", "b": "2"},
    "nonPersistent": "live",
    "keyShared": {"total": 100, "ownersOfAKey": 1, "ordered": True},
    "failover": {"together": 10, "alone": 10, "takenOver": 5},
    "exclusive": "ConsumerBusyException",
    "seek": {
        "all": 8,
        "byId": ["m3", "m4", "m0", "m1", "m2"],
        "byTime": ["m0", "m1", "m2"],
        "again": 8,
    },
    "negative": [0, 1, 2],
    "timeout": {"text": "m0", "redeliveries": 1},
    "deadLetter": {"over": True, "dead": "m0"},
    "retryLetter": {"text": "m0", "times": "1"},
    "receipts": ["m1", "m3", "m5", "m7", "m9"],
    "pattern": {"-1": 1, "-2": 1},
    "partitions": {"total": 60, "partitionsOfAKey": 1, "names": 3},
    "delayed": ["now", "later"],
    "unsubscribe": {"besideOthers": "refused", "left": []},
    "deduplication": {"last": 3, "stored": ["m1", "m2", "m3", "m4"]},
    "nameTaken": "ProducerBusyException",
    "exclusiveAccess": ["ProducerFencedException", "ProducerBusyException"],
    "waitForExclusive": {"early": False, "stored": ["first", "second"]},
    "fencing": {"late": "ProducerFencedException", "stored": ["old", "new"]},
    "missingNamespace": "TopicDoesNotExistException",
    "manyInFlight": {"idsGrow": True, "ordered": True},
    "topics": {
        "listed": ["", *(f"-parts-partition-{n}" for n in range(4))],
        "partitions": 4,
    },
    "refusals": {
        "createTwice": 409,
        "deleteMissing": 404,
        "statsMissing": 404,
        "missingNamespace": 404,
        "deleteMissingSubscription": 404,
        "deleteBusy": 412,
        "deleteBusySubscription": 412,
        "createSubscriptionTwice": 409,
    },
    "subscriptions": {"backlog": 10, "skipped": 6, "left": ["m7", "m8", "m9"], "names": []},
    "namespaces": {
        "listed": True,
        "unset": True,
        "minutes": 30,
        "size": 50,
        "twice": 409,
        "gone": 404,
    },
    "stats": {
        "in": 5,
        "backlog": 5,
        "unacked": 5,
        "type": "Shared",
        "consumers": 1,
        "entries": 5,
        "cursors": ["s"],
    },
    "peek": {"texts": ["m0", "m1"], "key": "k0"},
}
WITHOUT_DEDUPLICATION = {"last": -1, "stored": ["m1", "m2", "m3", "m2", "again", "m4"]}


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled sources, beside a configuration that keeps the clients from logging."""
    folder = tmp_path_factory.mktemp("java")
    command = ["javac", "-nowarn", "-d", str(folder), "-cp", f"{jars()}/*"]
    sources = [str(path) for path in sorted(SOURCES.glob("*.java"))]
    done = subprocess.run([*command, *sources], capture_output=True, text=True, timeout=COMPILE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "log4j2.xml").write_text(LOG4J.replace("warn", "off"), encoding="utf-8")
    return folder


def run(target: Target, classes: Path) -> dict[str, Any]:
    """Run all checks against a broker; returns what each of them saw."""
    java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{classes}:{jars()}/*"]
    arguments = [target.url, target.admin, f"java-{uuid.uuid4().hex[:8]}"]
    done = subprocess.run(
        [*java, f"-Dlog4j2.configurationFile={classes}/log4j2.xml", "Checks", *arguments],
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr
    return {line["check"]: line.get("seen", line.get("failed")) for line in lines}


def test_the_java_clients(target: Target, classes: Path) -> None:
    seen = run(target, classes)
    expected = dict(EXPECTED)
    if not target.deduplicates:
        expected["deduplication"] = WITHOUT_DEDUPLICATION
    # A cursor that Pulsar keeps for itself when it recognises what is sent again.
    seen["stats"]["cursors"] = [c for c in seen["stats"]["cursors"] if c != "pulsar.dedup"]
    assert sorted(seen) == sorted(expected)
    wrong = {name: seen[name] for name in expected if seen[name] != expected[name]}
    assert wrong == {}
