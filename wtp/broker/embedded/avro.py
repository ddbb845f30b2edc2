"""Whether one Avro schema can read what another one wrote.

Source: "Schema Resolution" of the Apache Avro specification 1.12, and Pulsar's page "Schema
evolution and compatibility". Pulsar's default is FULL: the newest schema and the next one can read
each other. As in Avro's Java library, names of records are not compared, those of enums and fixed
are. Schemas come from clients, so their size and the work on them are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wtp.errors import BrokerError

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

PROMOTED = {
    "long": {"int"},
    "float": {"int", "long"},
    "double": {"int", "long", "float"},
    "string": {"bytes"},
    "bytes": {"string"},
}
"""What else a reader of a type can read."""

MAX_BYTES = 256 * 1024
"""Longer schemas are refused."""

MAX_DEPTH = 64
"""More deeply nested ones too."""

MAX_STEPS = 100_000
"""Pairs of types compared before a schema is refused; takes about 0.1 s."""


def both_ways(one: bytes, other: bytes) -> bool:
    """Whether two schemas can read each other's data.

    Raises:
        BrokerError: code "incompatible": one of them is not an Avro schema, or too complicated.
    """
    first, second = parse(one), parse(other)
    try:
        return _Comparison().reads(first, second) and _Comparison().reads(second, first)
    except RecursionError:
        raise _refused("it refers too deeply") from None


def check(text: bytes) -> None:
    """Refuse what is not an Avro schema.

    Raises:
        BrokerError: code "incompatible".
    """
    parse(text)


@dataclass(slots=True, eq=False)
class Type:
    """A type of a schema, names replaced by what they stand for.

    Attributes:
        kind: A primitive, or record, enum, fixed, array, map, union.
        name: Short name of an enum or fixed.
        fields: Of a record: each field by its name.
        branches: Of a union; the items of an array or the values of a map.
        size: Of a fixed.
        symbols: Of an enum.
        default: Whether an enum has a symbol for unknown ones.
    """

    kind: str
    name: str = ""
    fields: dict[str, Field] = field(default_factory=dict)
    branches: list[Type] = field(default_factory=list)
    size: int = 0
    symbols: frozenset[str] = frozenset()
    default: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record."""

    type: Type
    names: tuple[str, ...]
    default: bool


def parse(text: bytes) -> Type:
    """Parse a schema.

    Raises:
        BrokerError: code "incompatible": it is none.
    """
    if len(text) > MAX_BYTES:
        raise _refused(f"it is longer than {MAX_BYTES} bytes")
    try:
        return _Parser().parse(json.loads(text), "", 0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(str(error)) from error


def _refused(why: str) -> BrokerError:
    return BrokerError(
        f"The schema is not Avro: {why}.", hint="Correct its definition.", code="incompatible"
    )


class _Parser:
    def __init__(self) -> None:
        self._named: dict[str, Type] = {}

    def parse(self, schema: Any, space: str, depth: int) -> Type:
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if isinstance(schema, list):
            return Type("union", branches=[self.parse(one, space, depth + 1) for one in schema])
        if isinstance(schema, str):
            return self._find(schema, space)
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._record(schema, space, depth)
        if kind in ("enum", "fixed"):
            symbols = frozenset(schema["symbols"]) if kind == "enum" else frozenset[str]()
            size = int(schema["size"]) if kind == "fixed" else 0
            found = Type(kind, size=size, symbols=symbols, default="default" in schema)
            self._name(found, schema, space)
            return found
        if kind in ("array", "map"):
            inner = schema["items" if kind == "array" else "values"]
            return Type(kind, branches=[self.parse(inner, space, depth + 1)])
        return self.parse(kind, space, depth + 1)

    def _find(self, name: str, space: str) -> Type:
        if name in PRIMITIVES:
            return Type(name)
        full = f"{space}.{name}" if space and "." not in name else name
        found = self._named.get(full) or self._named.get(name)
        if found is None:
            raise ValueError(f"type {name!r} is not known")
        return found

    def _name(self, found: Type, schema: Mapping[str, Any], space: str) -> str:
        """Make a type known by its name; returns the namespace inside it."""
        name = str(schema["name"])
        if "." not in name:
            space = schema.get("namespace", space)
            name = f"{space}.{name}" if space else name
        self._named[name] = found
        inside, _, found.name = name.rpartition(".")
        return inside

    def _record(self, schema: Mapping[str, Any], space: str, depth: int) -> Type:
        found = Type("record")
        space = self._name(found, schema, space)
        for one in schema["fields"]:
            _check_default(one)
            names = (str(one["name"]), *one.get("aliases", ()))
            inner = self.parse(one["type"], space, depth + 1)
            found.fields[names[0]] = Field(inner, names, "default" in one)
        return found


def _check_default(one: Mapping[str, Any]) -> None:
    """A union's default is of its first type, as Avro's Java library insists."""
    kind = one["type"]
    if (
        "default" in one
        and isinstance(kind, list)
        and kind
        and (one["default"] is None) != (kind[0] == "null")
    ):
        raise ValueError(f"the default of {one['name']!r} is not of its first type")


class _Comparison:
    """One direction of a comparison; records met before count as they came out."""

    def __init__(self) -> None:
        self._steps = 0
        self._records: dict[tuple[Type, Type], bool] = {}

    def reads(self, new: Type, old: Type) -> bool:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _refused("comparing it takes too long")
        if old.kind == "union":
            return all(self.reads(new, branch) for branch in old.branches)
        if new.kind == "union":
            return any(self.reads(branch, old) for branch in new.branches)
        if new.kind != old.kind:
            return old.kind in PROMOTED.get(new.kind, ())
        if new.kind in ("array", "map"):
            return self.reads(new.branches[0], old.branches[0])
        if new.kind == "fixed":
            return new.name == old.name and new.size == old.size
        if new.kind == "enum":
            return new.name == old.name and (old.symbols <= new.symbols or new.default)
        return new.kind != "record" or self._reads_record(new, old)

    def _reads_record(self, new: Type, old: Type) -> bool:
        known = self._records.get((new, old))
        if known is None:
            self._records[new, old] = True  # while it is compared: a type may contain itself
            known = all(self._reads_field(one, old) for one in new.fields.values())
            self._records[new, old] = known
        return known

    def _reads_field(self, one: Field, old: Type) -> bool:
        for name in one.names:
            if name in old.fields:
                return self.reads(one.type, old.fields[name].type)
        return one.default
