"""Which Avro schemas go together."""

from __future__ import annotations

import json

import pytest

from wtp.broker.embedded.avro import MAX_BYTES, both_ways, check
from wtp.errors import BrokerError


def record(*fields: object, name: str = "R") -> dict[str, object]:
    return {"type": "record", "name": name, "fields": list(fields)}


def field(name: str, kind: object, **more: object) -> dict[str, object]:
    return {"name": name, "type": kind, **more}


def text(schema: object) -> bytes:
    return json.dumps(schema).encode()


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
LIST = record(field("next", ["null", "R"], default=None))
SPACED = {
    **record(field("a", ENUM), field("b", "E"), field("c", "x.E")),
    "namespace": "x",
}


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        ("string", "string", True),
        ("string", {"type": "string"}, True),
        ("string", "bytes", True),
        ("int", "long", False),  # only one way
        ("int", "string", False),
        (["null", "int"], ["int", "null"], True),
        (["null", "int"], "int", False),
        (record(), record(name="Other"), True),
        (record(field("a", "int")), record(field("a", "int")), True),
        (record(field("a", "int")), record(field("a", "string")), False),
        (record(field("a", "int")), record(), False),
        (record(field("a", "int", default=1)), record(), True),
        (
            record(field("a", "int", aliases=["b"])),
            record(field("b", "int", aliases=["a"])),
            True,
        ),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "int"}, True),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "string"}, False),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "long"}, False),
        ({"type": "map", "values": "int"}, {"type": "array", "items": "int"}, False),
        (ENUM, ENUM, True),
        (ENUM, {**ENUM, "symbols": ["A"]}, False),
        (ENUM, {**ENUM, "name": "F"}, False),
        (
            {"type": "fixed", "name": "F", "size": 4},
            {"type": "fixed", "name": "F", "size": 5},
            False,
        ),
        (LIST, LIST, True),
        (SPACED, SPACED, True),
    ],
)
def test_both_ways(one: object, other: object, fits: bool) -> None:
    assert both_ways(text(one), text(other)) is fits
    assert both_ways(text(other), text(one)) is fits


@pytest.mark.parametrize(
    "schema",
    [
        b"",
        b"\xff",
        b"{}",
        b"[",
        b"7",
        b'"nothing"',
        text(record({"name": "a"})),
        text(record(field("a", "Unknown"))),
        text(record(field("a", ["null", "int"], default=3))),
        text(["null"]) * 2,
        b"[" * 5000 + b"]" * 5000,
        b'{"type":' * 70 + b'"int"' + b"}" * 70,
        text("x" * MAX_BYTES),
    ],
)
def test_what_is_no_schema(schema: bytes) -> None:
    with pytest.raises(BrokerError) as caught:
        check(schema)
    assert caught.value.code == "incompatible"


def chain(count: int, end: str, width: int = 2) -> bytes:
    """Records that each hold the next one in some fields: a tree of width ** count leaves."""
    kind: object = end
    fields = []
    for number in range(count):
        inner = [field(f"{n}", kind) for n in range(width)]
        fields.append(field(f"f{number}", record(*inner, name=f"R{number}")))
        kind = f"R{number}"
    return text(record(*fields))


def test_a_tree_of_a_billion_leaves() -> None:
    assert both_ways(chain(40, "int"), chain(40, "int"))
    assert not both_ways(chain(40, "int"), chain(40, "string"))


def test_a_long_chain() -> None:
    assert both_ways(chain(2000, "int", width=1), chain(2000, "int", width=1))


def test_too_much_work() -> None:
    """Each branch of one union is compared with each of the other."""
    with pytest.raises(BrokerError) as caught:
        both_ways(text(["string"] * 400 + ["int"]), text(["int"] * 400))
    assert caught.value.code == "incompatible"
