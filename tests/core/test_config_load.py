"""wtp.config.load: any text is Settings or one ConfigError that names the line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.strategies import any_text
from wtp.config import load
from wtp.config.load import (
    broker_folder,
    certs_folder,
    find_profile,
    home,
    override,
    parse,
    profile_folders,
)
from wtp.config.schema import Settings
from wtp.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, so that neither the checkout nor the user's data matter."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)


def read(text: str) -> Settings | str:
    """Settings, or the words of the error."""
    try:
        return parse(text, "p.yaml")
    except ConfigError as error:
        return error.message


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    return caught.value.message


_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes()
)
_trees = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_scalars, inner, max_size=3),
    max_leaves=10,
)
_keys = {
    name: list(getattr(type(getattr(Settings(), name)), "model_fields", {"video": None}))
    for name in Settings.model_fields
}
_profiles = st.dictionaries(
    st.sampled_from([*_keys, "other"]),
    st.dictionaries(st.sampled_from(sorted({k for v in _keys.values() for k in v})), _trees)
    | _trees,
)
_snippets = st.lists(
    st.sampled_from(
        ["a", "&a", "*a", ": ", "\n", "  ", "- ", "{", "}", "[", "]", "router", "mtu", "1", "!!int",
         "!!float", "!!bool", "!!timestamp", "!!binary", "!!set", "!!omap", "? ", "<<", "'", '"',
         "|", ">", "%YAML 1.1", "---", "...", "#", "\t", "\\ud800", "0x", "0b", "2001-99-99",
         ".inf", "~", "\ufeff", "\x00", "é", ",", "null", "1:99:99", "!!python/none"]
    ),
    max_size=20,
).map("".join)  # fmt: skip


@given(any_text | _snippets)
def test_any_text(text: str) -> None:
    read(text)


@given(_profiles)
def test_any_tree_under_known_keys(tree: Any) -> None:
    result = read(yaml.safe_dump(tree, allow_unicode=True))
    if isinstance(result, Settings):
        result.model_dump_json()


@given(st.binary(max_size=100))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("profile") / "x.yaml"
    path.write_bytes(data)
    try:
        load.load(str(path))
    except ConfigError as error:
        assert str(path) in error.message  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    "text",
    [
        'a: !!int ""', "a: !!bool x", "a: !!timestamp q", 'a: !!float ""', "a: 2001-99-99",
        "a: !!python/object:os.x {}", "a: !!binary é", "a: 0x_", "<<: 5", "? [a]\n: b",
        "a: !!omap 3", '"\\ud800": 1', 'router: {url: "\\ud800"}', 'router: {certs: "a\\0"}',
        "router: !!str {a: b}", "a: &a [*a]", "router: &r {mtu: 1}, broker: *r", "\x00", "a: b: c",
        "!!map x", "1: 2", "router: {1: 2}", "router: null", "[]", "text", "3", "a: [", "\t- x",
        "a: " + "9" * 5000, "a: 0001-01-01 00:00:00 +23:59",
    ],
)  # fmt: skip
def test_hostile_texts_are_refused_with_their_line(text: str) -> None:
    assert refused(text).startswith("p.yaml, line 1: ")


@pytest.mark.parametrize("text", ["- " * 3000, "{" * 3000, "a: " + "[" * 3000])
def test_deep_nesting(text: str) -> None:
    assert "too deeply" in refused(text)


def test_a_bomb_of_aliases_costs_nothing() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    start = time.process_time()
    assert "line 2: aliases are not allowed" in refused("\n".join(lines))
    assert time.process_time() - start < 5.0


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "null"])
def test_nothing_is_the_default(text: str) -> None:
    assert parse(text, "p.yaml") == Settings()


def test_a_value_is_read() -> None:
    settings = parse("router:\n  mtu: 1452\nbroker: {url: 'pulsar://h:1'}\n", "p.yaml")
    assert settings.router.mtu == 1452
    assert settings.broker.url == "pulsar://h:1"


def test_an_unknown_key_is_named_with_its_line() -> None:
    assert refused("router:\n  mtu: 0\n  mtuu: 1\n") == "p.yaml, line 3: router.mtuu: unknown key."


def test_every_fault_is_named() -> None:
    message = refused("router:\n  mtu: -1\nnonsense:\n  x: 1\nbroker:\n  start: 'yes'\n")
    assert "line 2: router.mtu" in message
    assert "line 3: nonsense: unknown key" in message
    assert "line 6: broker.start" in message


def test_a_fault_inside_a_list_has_its_line() -> None:
    assert "line 4: router.origins.1" in refused("router:\n  origins:\n    - a\n    - 5\n")


def test_a_key_that_stands_twice() -> None:
    text = "router:\n  mtu: 1\n  mtu: 2\n"
    assert refused(text) == "p.yaml, line 3: the key 'mtu' stands twice."


def test_merging_in_place_is_no_way_around() -> None:
    assert parse("router: {<<: {mtu: 5}}", "p.yaml").router.mtu == 5
    assert "unknown key" in refused("router: {<<: {mut: 5}}")


def test_values_override_a_profile() -> None:
    settings = override(
        Settings(), {"router.mtu": 1300, "router.limits.sessions": 3, "rooms.room": None}
    )
    assert (settings.router.mtu, settings.router.limits.sessions) == (1300, 3)
    assert settings.rooms.room == "default"


def test_a_wrong_value_is_named_without_a_file() -> None:
    with pytest.raises(ConfigError, match=r"router\.mtu = -1: ") as caught:
        override(Settings(), {"router.mtu": -1})
    assert "--help" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("publish.size", "foo", "write WIDTHxHEIGHT such as 640x480"),
        ("publish.bitrate", "lots", "write a number of bit/s such as 2.5M"),
        ("router.listen", "foo", "write HOST:PORT such as 127.0.0.1:4433"),
        ("publish.codec", "vp7", "must be 'h264', 'vp8', 'vp9', 'av1' or 'jpeg'"),
        ("topics.kinds", {"Odd": "persistent://a/b/c"}, "'Odd' is no kind"),
    ],
)
def test_a_wrong_value_is_answered_with_what_to_write(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(Settings(), {key: value})
    assert key in caught.value.message
    assert words in caught.value.message
    section, name = key.split(".")
    assert words in refused(yaml.safe_dump({section: {name: value}}))


def test_home_is_the_environments_or_the_users(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home() == clean_home
    monkeypatch.delenv("WTP_HOME")
    assert home().name == "wtp"


def test_folders(clean_home: Path, tmp_path: Path) -> None:
    settings = Settings()
    assert certs_folder(settings) == clean_home / "certs"
    assert broker_folder(settings) == clean_home / "broker"
    chosen = override(settings, {"router.certs": "/c", "broker.data": "/b"})
    assert (certs_folder(chosen), broker_folder(chosen)) == (Path("/c"), Path("/b"))


def test_a_checkout_keeps_its_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("certs").mkdir()
    Path("certs/README.md").write_text("x", encoding="utf-8")
    Path("pyproject.toml").write_text("", encoding="utf-8")
    assert certs_folder(Settings()) == Path("certs")


def test_look_up_goes_from_near_to_far(clean_home: Path) -> None:
    assert find_profile("local") == ROOT / "profiles" / "local.yaml"
    (clean_home / "profiles").mkdir()
    own = clean_home / "profiles" / "local.yaml"
    own.write_text("", encoding="utf-8")
    assert find_profile("local") == own
    Path("profiles").mkdir()
    Path("profiles/local.yaml").write_text("", encoding="utf-8")
    assert find_profile("local") == Path("profiles/local.yaml")
    assert profile_folders()[:2] == [Path("profiles"), clean_home / "profiles"]
    assert find_profile("profiles/local.yaml") == Path("profiles/local.yaml")


@pytest.mark.parametrize("name", ["nonesuch", "", "x" * 5000, "a\0b", "..", "*"])
def test_an_unknown_profile_lists_the_known(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_profile(name)
    assert "Known: " in caught.value.hint
    assert "local" in caught.value.hint


@pytest.mark.parametrize("name", ["missing.yaml", "a/b", "x" * 5000 + ".yml", "/", "a\0.yaml"])
def test_an_unknown_path(name: str) -> None:
    with pytest.raises(ConfigError, match="no profile file"):
        find_profile(name)


@given(any_text)
@example("../../../../etc/passwd")
def test_any_name_is_a_file_or_an_error(name: str) -> None:
    try:
        assert find_profile(name).is_file()
    except ConfigError:
        return


def test_loading_puts_values_over_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("router: {mtu: 1400}\npublish: {fps: 25}\n", encoding="utf-8")
    settings = load.load(str(path), {"router.mtu": 1300, "publish.fps": None})
    assert (settings.router.mtu, settings.publish.fps) == (1300, 25)
    assert load.load(str(path)).router.mtu == 1400


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load.load(str(path))


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_profile_that_ships_is_read(path: Path) -> None:
    assert load.load(str(path)) == parse(path.read_text(encoding="utf-8"), str(path))


def test_keys_of_the_original_platform() -> None:
    text = """
services:
  video: {url: "http://video:8080/process", data_format: binary}
  chat: {urls: ["http://a:8080", "http://b:8080"], data_format: json, timeout: 1}
global: {max_retries: 2, timeout: 4.0}
pulsar: {broker_url: "pulsar://p:6650", send_to_pulsar: false}
logging: {level: debug}
"""
    settings = parse(text, "p.yaml")
    assert settings.services["video"].all_urls == ["http://video:8080/process"]
    assert settings.services["chat"].all_urls == ["http://a:8080", "http://b:8080"]
    assert (settings.service_defaults.max_retries, settings.service_defaults.timeout) == (2, 4.0)
    assert settings.broker.url == "pulsar://p:6650"
    assert settings.processor.send_to_pulsar is False


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("services:\n  video: {}", "p.yaml, line 2: .*either url or urls"),
        ("services:\n  video:\n    url: ftp://x", "p.yaml, line 2: .*is no URL"),
        ("services:\n  smell: {url: 'http://x'}", "line 1: .*is no kind"),
        ("pulsar:\n  broker_url: pulsar://x\nbroker:\n  url: pulsar://y", "line 2: .*same setting"),
        ("pulsar:\n  send_to_pulsar: 1", "line 2: .*bool"),
        ("pulsar:\n  topic: x", "line 1|line 2"),
        ("pulsar: 5", "line 1: pulsar: unknown key"),
        ("global: 5", "line 1: service_defaults"),
        ("broker: 5\npulsar: {broker_url: pulsar://x}", "line 1: broker"),
    ],
)
def test_faults_in_keys_of_the_original_platform(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(text, "p.yaml")
