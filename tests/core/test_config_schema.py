"""wtp.config.schema: limits of each setting, and one declaration for flag, variable and key."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wtp.config.keys import setting_keys, variables
from wtp.config.load import override, parse
from wtp.config.schema import Settings, find
from wtp.errors import ConfigError
from wtp.model import Kind

KEYS = list(setting_keys())


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_declared_whole(key: str) -> None:
    default, text, env = find(key)
    assert text.endswith((".", ")."))
    assert env == "" or re.fullmatch(r"WTP_[A-Z_]+", env)
    assert override(Settings(), {key: default}) == Settings()


def test_keys_follow_the_schema() -> None:
    assert KEYS[0] == "router.listen"
    assert "router.limits.sessions" in KEYS
    assert len(set(KEYS)) == len(KEYS)


def test_variables_are_not_shared() -> None:
    table = variables()
    assert len(table) == sum(1 for key in KEYS if find(key)[2])
    assert all(find(key)[2] == env for env, key in table.items())
    assert {"WTP_ROUTER", "WTP_BROKER", "WTP_ADMIN", "WTP_ROOM"} <= table.keys()


def test_an_unknown_key_is_a_fault_of_the_caller() -> None:
    with pytest.raises(KeyError):
        find("router.nonesuch")


@pytest.mark.parametrize(
    "address", ["127.0.0.1:4433", "localhost:0", "[::1]:65535", "a.example:1", "0.0.0.0:80"]
)
def test_addresses(address: str) -> None:
    assert override(Settings(), {"router.listen": address}).router.listen == address


WRONG: list[tuple[str, Any]] = [
    *[
        ("router.listen", a)
        for a in ("", "4433", ":1", "h:", "h:65536", "h:99999", "h:123456", "h:-1", "h:٣", "::1:5",
                  "[::1]", "[x]:1", "a b:1", "h:1\n", "h:1 ", 4433, None, ["h:1"])
        if a is not None
    ],
    *[("publish.size", s) for s in ("", "640", "640x", "0x0", "00x00", "٦٤x٤٨", "1x1", "64x48\n")],
    *[("publish.bitrate", b) for b in ("", "M", "-1", "1G", "1.M", "٣", "1e9")],
    *[("publish.fps", f) for f in (0, -1, 241, float("nan"), float("inf"), "30", True)],
    *[("publish.codec", c) for c in ("", "vp7", "H264", 1)],
    *[("router.mtu", m) for m in (-1, 9001, 1.5, "1", True)],
    *[("router.limits.idle_s", s) for s in (0, float("inf"), float("nan"), "5", 10**400)],
    *[("router.retry", r) for r in ("yes", 1, 0)],
    *[("router.origins", o) for o in ("x", [1], [None], 5)],
    *[("rooms.retention_mb", r) for r in (-2, 0.5, "all")],
    *[
        ("topics.template", t)
        for t in ("", "x", "{x", "{room}", "{foo}", "{room.x}", "{0}", "{room!r}", "{}",
                  "persistent://public/{room}/{x}", "persistent://public/{kind",
                  "persistent://{room}/{kind}", "http://a/b/c", "persistent://a/b/c d",
                  "persistent://a/b/c/d")
    ],
    *[("topics.kinds", k) for k in ({"smell": "x"}, {"video": "{x}"}, {1: "x"}, 5)],
    *[("legacy.content_types", c) for c in ({"smell": "x"}, {"video": 1}, {"Video": "x"})],
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG, ids=lambda v: repr(v)[:30])
def test_wrong_values_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=re.escape(key)):
        override(Settings(), {key: value})


def test_topics() -> None:
    settings = parse(
        "topics:\n  kinds: {video: 'non-persistent://public/{room}/{kind}', chat: 'persistent://a/b/c'}",
        "p.yaml",
    )
    topics = settings.topics
    assert topics.topic("default", Kind.VIDEO) == "non-persistent://public/default/video"
    assert topics.topic("default", Kind.CHAT) == "persistent://a/b/c"
    assert topics.topic("r", Kind.AUDIO) == "persistent://public/r/audio"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().router.mtu = 1
