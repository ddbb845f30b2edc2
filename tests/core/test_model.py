"""wtp.model: names, tracks, and objects as message properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.strategies import any_text, attributes, i64, objects, text, u64
from wtp.errors import UsageError, WireError
from wtp.model import (
    MAX_BYTES,
    RESERVED,
    STAMPS,
    Kind,
    Object,
    Track,
    check_name,
    clean_name,
    from_properties,
    to_properties,
)

names = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True).filter(
    lambda n: n not in {".", ".."}
)


def test_kinds() -> None:
    assert {kind for kind in Kind if kind.reliable} == {Kind.CHAT, Kind.FILE, Kind.DATA}
    assert {kind: kind.max_bytes for kind in Kind} == MAX_BYTES
    assert Kind.VIDEO.max_bytes == 4 * 1024 * 1024
    assert Kind.CHAT.max_bytes == 16 * 1024


@given(names)
def test_legal_names_pass(name: str) -> None:
    assert check_name("track", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "x" * 65, "a\n", "\x00"])
@pytest.mark.parametrize("what", ["room", "publisher", "track"])
def test_other_names_do_not(what: str, name: str) -> None:
    with pytest.raises(UsageError, match=what):
        check_name(what, name)


@pytest.mark.parametrize("kind", Kind)
def test_no_room_is_named_like_a_kind(kind: Kind) -> None:
    with pytest.raises(UsageError, match="like a kind"):
        check_name("room", kind.value)
    assert check_name("track", kind.value) == kind.value


@given(any_text)
@example("...")
@example("." * 100)
@example("x" * 64 + ".")
def test_any_text_becomes_a_legal_name(anything: str) -> None:
    assert check_name("publisher", clean_name(anything))


@given(names.filter(lambda n: n not in set(Kind)), names, names)
def test_tracks_round_trip(room: str, publisher: str, name: str) -> None:
    track = Track(room, publisher, name)
    assert Track.parse(str(track)) == track


@given(any_text)
@example("a/b")
@example("a/b/c/d")
@example("video/b/c")
def test_any_text_is_a_track_or_a_usage_error(anything: str) -> None:
    try:
        track = Track.parse(anything)
    except UsageError:
        return
    assert str(track) == anything


@given(
    objects(),
    st.sampled_from(["", "a1"]),
    st.none() | st.integers(0, 10**9),
    st.none() | i64,
    st.none() | i64,
    text,
)
def test_properties_round_trip(
    obj: Object,
    instance: str,
    error_us: int | None,
    route_us: int | None,
    publish_us: int | None,
    content_type: str,
) -> None:
    obj = replace(obj, route_us=route_us, publish_us=publish_us, content_type=content_type)
    properties = to_properties(obj, instance, "boot:1", error_us)
    assert all(type(k) is str and type(v) is str for k, v in properties.items())
    assert {n for n in STAMPS if n in properties} == {
        n for n in STAMPS if getattr(obj, n) is not None
    }
    assert ("instance" in properties) == bool(instance)
    assert ("clock_error_us" in properties) == (error_us is not None)
    if any((getattr(obj, name) or 0) >= 2**63 for name in STAMPS):
        with pytest.raises(WireError):
            from_properties(properties, obj.payload)
    else:
        assert from_properties(properties, obj.payload) == obj


def test_own_attributes_never_replace_metadata() -> None:
    obj = Object(Kind.CHAT, 5, 0, False, b"", attributes={"seq": "9", "author": "a"})
    properties = to_properties(obj, "", "b:1", None)
    assert properties["seq"] == "5"
    assert from_properties(properties, b"").attributes == {"author": "a"}


GOOD = {"wtp": "1", "kind": "video", "seq": "1", "group": "2", "key": "1"}
numbers = st.sampled_from(["", "-1", "1_0", " 1", "1.0", "٣", "9" * 30, "0x1", "inf", "1e3", "-"])
values = any_text | numbers | u64.map(str) | i64.map(str) | st.sampled_from(["1", *Kind])


@given(st.dictionaries(st.sampled_from(sorted(RESERVED)) | any_text, values), st.booleans())
def test_any_properties_are_an_object_or_one_error(
    properties: dict[str, str], with_good: bool
) -> None:
    if with_good:
        properties = GOOD | properties
    try:
        obj = from_properties(properties, b"x")
    except WireError:
        return
    again = from_properties(to_properties(obj, "", "", None), b"x")
    assert again == obj


@pytest.mark.parametrize("name", [*STAMPS, "seq", "group", "duration_us"])
@pytest.mark.parametrize("value", ["", "1_0", " 1", "1 ", "٣", "9" * 20, "9" * 5000, "1.5", "+1"])
def test_numbers_are_plain_digits_of_64_bits(name: str, value: str) -> None:
    with pytest.raises(WireError, match="damaged") as caught:
        from_properties(GOOD | {name: value}, b"")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["seq", "group", "duration_us"])
def test_counts_are_not_negative(name: str) -> None:
    with pytest.raises(WireError):
        from_properties(GOOD | {name: "-1"}, b"")


@pytest.mark.parametrize("name", ["kind", "seq", "group", "key"])
def test_what_every_object_has(name: str) -> None:
    with pytest.raises(WireError, match=name):
        from_properties({k: v for k, v in GOOD.items() if k != name}, b"")


def test_foreign_messages_have_a_code_of_their_own() -> None:
    with pytest.raises(WireError) as caught:
        from_properties({}, b"")
    assert caught.value.code == "not-wtp"


@given(attributes)
def test_attributes_come_back(sent: dict[str, str]) -> None:
    assert from_properties(GOOD | sent, b"").attributes == sent
