"""Schemas of topics: kept, numbered, and compatible with the newest one both ways (FULL)."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from wtp.broker.embedded import avro
from wtp.broker.embedded.commands import KeyValue, Schema
from wtp.broker.naming import parse_topic
from wtp.errors import BrokerError, StorageError

NO_SCHEMA = frozenset({0, 21})
"""Types that declare nothing: bytes, and AUTO_CONSUME."""

AVRO = 4
AVRO_TEXT = frozenset({2, 3, AVRO})
"""Types whose definition is an Avro schema: JSON (old clients: anything), PROTOBUF, AVRO."""

MAX_VERSIONS = 100
"""Schemas that one topic may have."""


class SchemaRegistry:
    """The schemas of all topics, in one small file of the data folder.

    Args:
        folder: The data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "schemas.json"
        self._schemas: dict[str, list[dict[str, Any]]] = {}
        try:
            self._schemas = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{self._path} cannot be read: {error}.",
                hint="Repair it, or move it away; clients bring their schemas again.",
            ) from error

    def add(self, topic: str, schema: Schema | None) -> bytes:
        """Keep a schema, when it is new; returns its version, empty for no schema.

        Raises:
            BrokerError: code "incompatible" with the topic's newest schema.
            StorageError: The disk refuses.
        """
        if schema is None or schema.type in NO_SCHEMA:
            return b""
        key = str(parse_topic(topic).whole)
        known = self._schemas.get(key, [])
        record = _record(schema)
        for number, old in enumerate(known):
            if old["type"] == record["type"] and old["data"] == record["data"]:
                return number.to_bytes(8)
        if schema.type == AVRO:
            avro.check(schema.data)
        if known:
            _check(topic, known[-1], schema)
        if len(known) >= MAX_VERSIONS:
            raise BrokerError(
                f"Topic {topic} has {len(known)} schemas already.",
                hint="Use one of them, or another topic.",
                code="incompatible",
            )
        self._schemas[key] = [*known, record]
        self._save()
        return len(known).to_bytes(8)

    def check_consumer(self, topic: str, schema: Schema | None, *, idle: bool) -> None:
        """Let a consumer in with a schema that reads the topic's; an idle topic takes it over.

        Args:
            topic: The topic's name.
            schema: What the consumer brings.
            idle: Whether the topic has neither messages nor clients.

        Raises:
            BrokerError: code "incompatible"; also for a schema on messages that have none.
            StorageError: The disk refuses.
        """
        if schema is None or schema.type in NO_SCHEMA:
            return
        known = self._schemas.get(str(parse_topic(topic).whole), [])
        if known:
            _check(topic, known[-1], schema)
        elif idle:
            self.add(topic, schema)
        else:
            raise BrokerError(
                f"Topic {topic} has messages or clients, and no schema to check against.",
                hint="Subscribe without a schema, or publish with one first.",
                code="incompatible",
            )

    def get(self, topic: str, version: bytes | None = None) -> tuple[Schema, bytes] | None:
        """Return a schema and its version, the newest by default; None when there is none."""
        known = self._schemas.get(str(parse_topic(topic).whole), [])
        number = int.from_bytes(version) if version else len(known) - 1
        if not 0 <= number < len(known):
            return None
        record = known[number]
        properties = [KeyValue(k, v) for k, v in record["properties"].items()]
        data = base64.b64decode(record["data"])
        return Schema(record["name"], data, record["type"], properties), number.to_bytes(8)

    def forget(self, topic: str) -> None:
        """Drop the schemas of a deleted topic."""
        if self._schemas.pop(topic, None) is not None:
            self._save()

    def _save(self) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(self._schemas), encoding="utf-8")
            os.replace(fresh, self._path)
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written: {error}.", hint="Check space and rights."
            ) from error


def _check(topic: str, newest: dict[str, Any], schema: Schema) -> None:
    """Refuse a schema that does not go with the newest one."""
    if newest["type"] != schema.type:
        raise BrokerError(
            f"Topic {topic} has a schema of type {newest['type']}, not {schema.type}.",
            hint="Use the topic's schema type, or another topic.",
            code="incompatible",
        )
    if schema.type in AVRO_TEXT and not avro.both_ways(
        schema.data, base64.b64decode(newest["data"])
    ):
        raise BrokerError(
            f"The schema and the newest one of topic {topic} cannot read each other's messages.",
            hint="Give new fields a default, or use another topic.",
            code="incompatible",
        )


def _record(schema: Schema) -> dict[str, Any]:
    return {
        "name": schema.name,
        "type": schema.type,
        "data": base64.b64encode(schema.data).decode(),
        "properties": {p.key: p.value for p in schema.properties},
    }
