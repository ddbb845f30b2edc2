"""Topic templates: tenant and namespace from the room, and what comes of wrong ones."""

from __future__ import annotations

import pytest

from wtp.broker.naming import room_namespace, topic_name
from wtp.errors import UsageError


@pytest.mark.parametrize(
    ("template", "topic", "namespace"),
    [
        ("persistent://public/{room}/{kind}", "persistent://public/cam-1/video", "public/cam-1"),
        ("persistent://{room}/live/{kind}", "persistent://cam-1/live/video", "cam-1/live"),
        ("persistent://acme/{room}-{kind}/all", "persistent://acme/cam-1-video/all",
         "acme/cam-1-video"),
        ("non-persistent://acme/x/{room}.{kind}", "non-persistent://acme/x/cam-1.video", "acme/x"),
        ("persistent://acme/x/all", "persistent://acme/x/all", "acme/x"),
    ],
)  # fmt: skip
def test_rooms_may_be_tenants_namespaces_or_topics(
    template: str, topic: str, namespace: str
) -> None:
    assert topic_name(template, "cam-1", "video") == topic
    assert room_namespace(template, "cam-1") == namespace


@pytest.mark.parametrize(
    ("template", "room", "words"),
    [
        ("persistent://public/{room}@x/{kind}", "a", "yields 'persistent://public/a@x/video', "
         "which is no topic. namespace name 'a@x' is not allowed"),
        ("persistent://{room}/{kind}", "a", "yields 'persistent://a/video', which is no topic"),
        ("persistent://a b/{room}/{kind}", "a", "tenant name 'a b' is not allowed"),
        ("memory://public/{room}/{kind}", "a", "the unknown domain 'memory'"),
        ("persistent://public/live/{room}", "x-partition-3", "Its end is that of a partition"),
        ("persistent://{room}/live/{kind}", "..", "not allowed"),
        ("persistent://public/x/" + "y" * 1100 + "{kind}", "a", "too long"),
    ],
)  # fmt: skip
def test_what_is_no_topic_is_said_with_its_template(template: str, room: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        topic_name(template, room, "video")
    assert words in caught.value.message
    assert caught.value.exit_code == 2


def test_other_places_are_refused() -> None:
    with pytest.raises(UsageError, match="places other than"):
        topic_name("persistent://public/{publisher}/{kind}", "a", "video")
