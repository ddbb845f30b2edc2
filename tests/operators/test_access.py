"""Addresses, trust and tokens out of the settings; nothing connects."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest

from tests.operators.conftest import Papers
from tests.operators.papers import jwt, secret_file
from wtp.broker import access
from wtp.broker.access import Address, addresses, shown, ssl_context, token, token_fault
from wtp.broker.connect import administer
from wtp.clock import wall_us
from wtp.config.schema import BrokerSettings
from wtp.errors import BrokerUnavailable, ConfigError, UsageError

SECRET = b"a secret of thirty-two bytes ...."


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_told", set())


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("pulsar://a", [("a", 6650)]),
        ("pulsar+ssl://a", [("a", 6651)]),
        ("pulsar+ssl://a:1,b,[::1]:3,[::1]", [("a", 1), ("b", 6651), ("::1", 3), ("::1", 6651)]),
        ("pulsar://a:1, b:2/", [("a", 1), ("b", 2)]),
        ("pulsar://a:1,pulsar://b:2", [("a", 1), ("b", 2)]),
    ],
)
def test_addresses(url: str, wanted: list[tuple[str, int]]) -> None:
    found = addresses(url)
    assert [(one.host, one.port) for one in found] == wanted
    assert all(one.secure == url.startswith("pulsar+ssl") for one in found)


def test_addresses_of_the_admin_api_keep_their_path() -> None:
    found = addresses("https://a,[::1]:1/pulsar/", "http", "https")
    assert [one.url for one in found] == ["https://a:8443/pulsar", "https://[::1]:1/pulsar"]
    assert Address("http", "h", 80).url == "http://h:80"


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "http://h:1", "pulsar://", "pulsar://a,,b", "pulsar://h:99999", "pulsar://h:x",
     "pulsar://h:0", "pulsar://:1", "pulsar://[::1", "pulsar:// "],
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(BrokerUnavailable) as caught:
        addresses(url)
    assert caught.value.code == "bad-url"
    assert caught.value.exit_code == 3
    assert "pulsar://HOST:6650" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "pulsar://me:hunter2@h:1",
        "pulsar://hunter2@h:1,hunter2@b",
        "pulsar://h:1?token=hunter2",
        "pulsar://h:1/#hunter2",
        "pulsar://me:hun/hunter2@h",
        "hunter2@h",
        "http://me:hunter2@h/?a#b",
    ],
)
def test_secrets_in_urls_are_refused_and_never_shown(url: str) -> None:
    assert "hunter2" not in shown(url)
    with pytest.raises(BrokerUnavailable) as caught:
        addresses(url)
    assert "hunter2" not in repr(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_in_the_admin_url_is_a_wrong_argument() -> None:
    with pytest.raises(UsageError) as caught:
        administer(BrokerSettings(admin="http://h:8080/?token=hunter2"))
    assert "hunter2" not in str(caught.value)
    assert "WTP_BROKER_TOKEN_FILE" in caught.value.hint


@pytest.mark.parametrize("text", ["abc", "token:abc", "  abc \n"])
def test_a_token_from_the_settings_comes_first(text: str, tmp_path: Path) -> None:
    file = secret_file(tmp_path / "t", "other")
    assert token(BrokerSettings(token=text, token_file=file)) == "abc"


def test_a_token_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "t"
    settings = BrokerSettings(token_file=secret_file(path, "first"))
    assert token(settings) == "first"
    secret_file(path, "second")
    assert token(settings) == "second"
    assert token(BrokerSettings()) == ""


@pytest.mark.parametrize("text", ["", "  \n ", "two words", "two\nlines", "a" * 5000, "\x00", "ä"])
def test_files_that_hold_no_token(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        token(BrokerSettings(token_file=str(path)))
    assert str(path) in caught.value.message
    assert not text.strip() or text not in str(caught.value)


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nix cannot be read: No such file"):
        token(BrokerSettings(token_file=str(tmp_path / "nix")))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        token(BrokerSettings(token_file=str(tmp_path)))


def test_a_secret_that_everybody_may_read_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_one = BrokerSettings(token_file=secret_file(tmp_path / "open", "a", 0o644))
    closed = BrokerSettings(token_file=secret_file(tmp_path / "closed", "a", 0o640))
    with caplog.at_level(logging.WARNING):
        for settings in (closed, open_one, open_one):
            token(settings)
    assert len(caplog.records) == 1
    assert f"chmod 600 {tmp_path / 'open'}" in caplog.text


def test_what_can_be_seen_of_a_token() -> None:
    now = wall_us() // 1_000_000
    assert token_fault(jwt(SECRET, sub="x")) == ""
    assert token_fault(jwt(SECRET, sub="x", exp=now + 60, nbf=now - 60)) == ""
    assert token_fault(jwt(SECRET, exp=now - 7300)) == "it expired 2 hours ago"
    assert token_fault(jwt(SECRET, exp=now - 90)).startswith("it expired 9")
    assert "not valid for another 3 days" in token_fault(jwt(SECRET, nbf=now + 3 * 86400 + 60))
    for text in ("", "a", "a.b", "a.b.c", "a.!.c", "a.W10.c", "a.äö.c"):
        assert token_fault(text) == "it is no JSON web token"


def test_trust_and_name(papers: Papers) -> None:
    context = ssl_context(BrokerSettings(ca=papers.ca))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
    assert not ssl_context(BrokerSettings(ca=papers.ca, verify_host=False)).check_hostname
    assert ssl_context(BrokerSettings()).verify_mode is ssl.CERT_REQUIRED


def test_files_that_are_no_certificates(papers: Papers, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    pair = {"cert": papers.client.cert, "key": papers.client.key}
    for wrong, words in (
        ({"ca": "/nix.pem"}, "broker.ca: /nix.pem cannot be used: No such file"),
        ({"ca": str(empty)}, "broker.ca: .* it is no PEM file"),
        ({**pair, "cert": "/nix.pem"}, "broker.cert: /nix.pem cannot be used: No such file"),
        ({**pair, "key": "/nix.pem"}, "broker.key: /nix.pem cannot be used: No such file"),
        ({**pair, "cert": str(empty)}, "broker.cert or broker.key"),
        ({**pair, "key": papers.stranger.key}, "do not belong together"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            ssl_context(BrokerSettings.model_validate({"ca": papers.ca, **wrong}))
        assert caught.value.exit_code == 2
    for half, other in (("cert", "KEY"), ("key", "CERT")):
        with pytest.raises(UsageError) as usage:
            ssl_context(BrokerSettings.model_validate({half: pair[half]}))
        assert f"WTP_BROKER_{other}" in usage.value.hint


@pytest.mark.parametrize(
    ("url", "admin", "told"),
    [
        ("pulsar://127.0.0.1:1,localhost:2", "http://127.0.0.1", 0),
        ("pulsar+ssl://broker.example:1", "https://broker.example", 0),
        ("pulsar://127.0.0.1:1,broker.example:2", "http://127.0.0.1", 1),
        ("pulsar://broker.example", "http://broker.example", 2),
    ],
)
def test_a_token_that_goes_unencrypted_is_told(
    url: str, admin: str, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        access.warn_of_open_token(BrokerSettings(url=url, admin=admin, token="x"))
        access.warn_of_open_token(BrokerSettings(url=url, admin=admin))
    assert len(caplog.records) == told


def test_settings_do_not_show_their_token() -> None:
    assert "hunter2" not in repr(BrokerSettings(token="hunter2"))
    assert "hunter2" not in str(BrokerSettings(token="hunter2"))
