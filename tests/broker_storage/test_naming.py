"""Topic and namespace names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wtp.broker.naming import (
    DEFAULT_TEMPLATE,
    TopicName,
    parse_namespace,
    parse_topic,
    room_namespace,
    topic_name,
)
from wtp.errors import UsageError
from wtp.model import Kind


@pytest.mark.parametrize(
    ("text", "full", "partition"),
    [
        ("video", "persistent://public/default/video", -1),
        ("acme/lab/video", "persistent://acme/lab/video", -1),
        ("persistent://acme/lab/video", "persistent://acme/lab/video", -1),
        ("non-persistent://acme/lab/video", "non-persistent://acme/lab/video", -1),
        ("x-partition-12", "persistent://public/default/x-partition-12", 12),
        ("x-partition-0", "persistent://public/default/x-partition-0", 0),
        ("x-partition-01", "persistent://public/default/x-partition-01", -1),
        ("x-partition-", "persistent://public/default/x-partition-", -1),
        ("-partition-3", "persistent://public/default/-partition-3", -1),
        ("a b%2Fü:=", "persistent://public/default/a b%2Fü:=", -1),
    ],
)
def test_good_names(text: str, full: str, partition: int) -> None:
    found = parse_topic(text)
    assert str(found) == full
    assert found.partition == partition
    assert parse_topic(full) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a/b",
        "a/b/c/d",
        "persistent://video",
        "persistent://a/b/",
        "persistent:///b/c",
        "persistent://a//c",
        "persistent://a/b/c/d",
        "persistent://../b/c",
        "persistent://a/./c",
        "persistent://a b/c/d",
        "persistent://ä/c/d",
        "a\nb",
        "a\x00b",
        "x" * 2000,
    ],
)
def test_bad_names(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_topic(text)
    assert caught.value.hint


def test_a_bad_domain_has_its_own_code() -> None:
    with pytest.raises(UsageError) as caught:
        parse_topic("http://a/b/c")
    assert caught.value.code == "bad-domain"


def test_parts_of_a_name() -> None:
    name = parse_topic("non-persistent://acme/lab/x-partition-3")
    assert name == TopicName("non-persistent", "acme", "lab", "x-partition-3", 3)
    assert name.namespace_path == "acme/lab"
    assert not name.persistent
    assert str(name.whole) == "non-persistent://acme/lab/x"
    assert name.whole.whole == name.whole
    assert name.whole.part(3) == name


def test_namespaces() -> None:
    assert parse_namespace("acme/lab") == ("acme", "lab")
    assert parse_namespace("lab") == ("public", "lab")
    for text in ("", "a/b/c", "a/", "/b", "a b/c", ".."):
        with pytest.raises(UsageError):
            parse_namespace(text)


@pytest.mark.parametrize("kind", list(Kind))
def test_the_default_template(kind: Kind) -> None:
    name = topic_name(DEFAULT_TEMPLATE, "lab", kind)
    assert name == f"persistent://public/lab/{kind.value}"
    assert room_namespace(DEFAULT_TEMPLATE, "lab") == "public/lab"


def test_other_templates() -> None:
    template = "non-persistent://acme/all/{room}-{kind}"
    assert topic_name(template, "lab", "video") == "non-persistent://acme/all/lab-video"
    assert room_namespace(template, "lab") == "acme/all"


@pytest.mark.parametrize(
    "template",
    [
        "persistent://public/{room}/{kind}/{x}",
        "persistent://public/{}/{kind}",
        "persistent://public/{room.x}/{kind}",
        "persistent://public/{room/{kind}",
        "persistent://public/{room}",
        "",
        "http://public/{room}/{kind}",
    ],
)
def test_bad_templates(template: str) -> None:
    with pytest.raises(UsageError):
        topic_name(template, "lab", "video")


@pytest.mark.parametrize("room", ["video", "a/b", "", ".."])
def test_bad_rooms(room: str) -> None:
    with pytest.raises(UsageError):
        topic_name(DEFAULT_TEMPLATE, room, "video")


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        found = parse_topic(text)
    except UsageError:
        return
    assert parse_topic(str(found)) == found
    assert parse_topic(str(found.whole.part(2))).partition == 2
