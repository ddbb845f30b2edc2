"""Whether one Avro schema can read what another one wrote.

Source: "Schema Resolution" of the Apache Avro specification 1.12, and Pulsar's page "Schema
evolution and compatibility". Pulsar's default is FULL: the newest schema and the next one can read
each other. As in Avro's Java library, names of records are not compared, those of enums and fixed
are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wtp.errors import BrokerError

Schema = Any
"""A schema as JSON: the name of a type, an object, or a list for a union."""

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

PROMOTED = {
    "long": {"int"},
    "float": {"int", "long"},
    "double": {"int", "long", "float"},
    "string": {"bytes"},
    "bytes": {"string"},
}
"""What else a reader of a type can read."""

MAX_DEPTH = 64
"""Deeper schemas are refused."""


def both_ways(one: bytes, other: bytes) -> bool:
    """Whether two schemas can read each other's data.

    Raises:
        BrokerError: code "incompatible": one of them is not an Avro schema.
    """
    first, second = _Reader(one), _Reader(other)
    return first.reads(second) and second.reads(first)


def check(text: bytes) -> None:
    """Refuse what is not an Avro schema.

    Raises:
        BrokerError: code "incompatible".
    """
    _Reader(text)


class _Reader:
    """A schema with the types it names."""

    def __init__(self, text: bytes) -> None:
        self.named: dict[str, Schema] = {}
        try:
            self.root: Schema = json.loads(text)
            self._learn(self.root, "", 0)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BrokerError(
                f"The schema is not Avro: {error}.",
                hint="Correct its definition.",
                code="incompatible",
            ) from error

    def _learn(self, schema: Schema, space: str, depth: int) -> None:
        """Collect named types; raises for what is no schema."""
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if isinstance(schema, list):
            for branch in schema:
                self._learn(branch, space, depth + 1)
        elif isinstance(schema, str):
            if schema not in PRIMITIVES and self.find(schema, space) is None:
                raise ValueError(f"type {schema!r} is not known")
        else:
            self._learn_object(schema, space, depth)

    def _learn_object(self, schema: Mapping[str, Any], space: str, depth: int) -> None:
        kind = schema["type"]
        if kind in ("record", "error", "enum", "fixed"):
            name, space = _full_name(schema, space)
            self.named[name] = schema
            for field in schema["fields"] if kind in ("record", "error") else ():
                self._learn(field["type"], space, depth + 1)
                _check_default(field)
        elif kind == "array":
            self._learn(schema["items"], space, depth + 1)
        elif kind == "map":
            self._learn(schema["values"], space, depth + 1)
        else:
            self._learn(kind, space, depth + 1)

    def find(self, name: str, space: str = "") -> Schema | None:
        """The type of a name, None for a primitive or an unknown one."""
        found = self.named.get(f"{space}.{name}" if space and "." not in name else name)
        return found if found is not None else self.named.get(name)

    def resolve(self, schema: Schema) -> Schema:
        """The type itself, whatever way it is written."""
        while True:
            if isinstance(schema, str):
                if schema in PRIMITIVES:
                    return {"type": schema}
                short = schema.rpartition(".")[2]
                known = (s for n, s in self.named.items() if n.rpartition(".")[2] == short)
                return self.named[schema] if schema in self.named else next(known)
            if isinstance(schema, dict) and not _plain(schema["type"]):
                schema = schema["type"]
                continue
            return schema

    def reads(self, writer: _Reader) -> bool:
        """Whether this schema can read what the other one wrote."""
        return _reads(self, self.root, writer, writer.root, set())


def _plain(kind: Schema) -> bool:
    """Whether a `type` is the name of a kind rather than a schema of its own."""
    kinds = ("record", "error", "enum", "fixed", "array", "map")
    return isinstance(kind, str) and (kind in PRIMITIVES or kind in kinds)


def _full_name(schema: Mapping[str, Any], space: str) -> tuple[str, str]:
    name = schema["name"]
    if "." in name:
        return name, name.rpartition(".")[0]
    space = schema.get("namespace", space)
    return (f"{space}.{name}" if space else name), space


def _check_default(field: Mapping[str, Any]) -> None:
    """A union's default is of its first type, as Avro's Java library insists."""
    kind = field["type"]
    if "default" in field and isinstance(kind, list) and kind:
        default = field["default"]
        if (default is None) != (kind[0] == "null"):
            raise ValueError(f"the default of {field['name']!r} is not of its first type")


def _reads(
    reader: _Reader, new: Schema, writer: _Reader, old: Schema, open_: set[tuple[int, int]]
) -> bool:
    new, old = reader.resolve(new), writer.resolve(old)
    if isinstance(old, list):
        return all(_reads(reader, new, writer, branch, open_) for branch in old)
    if isinstance(new, list):
        return any(_reads(reader, branch, writer, old, open_) for branch in new)
    kind = new["type"]
    if kind != old["type"]:
        return old["type"] in PROMOTED.get(kind, ())
    if kind == "array":
        return _reads(reader, new["items"], writer, old["items"], open_)
    if kind == "map":
        return _reads(reader, new["values"], writer, old["values"], open_)
    if kind == "fixed":
        return bool(_short(new) == _short(old) and new["size"] == old["size"])
    if kind == "enum":
        known = set(old["symbols"]) <= set(new["symbols"]) or "default" in new
        return _short(new) == _short(old) and known
    if kind in ("record", "error"):
        if (id(new), id(old)) in open_:
            return True
        open_ = open_ | {(id(new), id(old))}
        return all(_reads_field(reader, field, writer, old, open_) for field in new["fields"])
    return True


def _reads_field(
    reader: _Reader,
    field: Mapping[str, Any],
    writer: _Reader,
    old: Mapping[str, Any],
    open_: set[tuple[int, int]],
) -> bool:
    names = {field["name"], *field.get("aliases", ())}
    for candidate in old["fields"]:
        if candidate["name"] in names:
            return _reads(reader, field["type"], writer, candidate["type"], open_)
    return "default" in field


def _short(schema: Mapping[str, Any]) -> str:
    return str(schema["name"]).rpartition(".")[2]
