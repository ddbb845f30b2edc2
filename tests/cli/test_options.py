"""Options out of settings: precedence, types, help; and the small parsers."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from wtp.cli.options import (
    Broker,
    Duration,
    LogLevel,
    Output,
    OutputFormat,
    Profile,
    environment,
    load_settings,
    option,
    parse_bytes,
    parse_seconds,
)
from wtp.config.schema import Settings
from wtp.errors import ConfigError

seen: dict[str, Any] = {}
app = typer.Typer()


@app.command()
def probe(
    ctx: typer.Context,
    broker: Broker = None,
    retry: Annotated[bool | None, option("router.retry", "--retry/--no-retry")] = None,
    mtu: Annotated[int | None, option("router.mtu", "--mtu")] = None,
    bitrate: Annotated[str | None, option("publish.bitrate", "--bitrate")] = None,
    level: LogLevel = None,
    duration: Duration = None,
    output: OutputFormat = Output.TABLE,
    profile: Profile = "local",
) -> None:
    """Probe."""
    seen["settings"] = load_settings(ctx, {"publish.gop": 9})
    seen["duration"], seen["output"] = duration, output


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WTP_BROKER", "WTP_MTU", "WTP_PROFILE", "WTP_FPS", "WTP_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


def run(*args: str, **env: str) -> Settings:
    result = CliRunner().invoke(app, list(args), env=env)
    if result.exception is not None:
        raise result.exception
    settings = seen["settings"]
    assert isinstance(settings, Settings)
    return settings


def test_flag_beats_environment_beats_profile_beats_default(tmp_path: Any) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text("broker:\n  url: pulsar://profile:1\n", encoding="utf-8")
    with_profile = ("--profile", str(profile))
    assert run().broker.url == "pulsar://127.0.0.1:6650"
    assert run(*with_profile).broker.url == "pulsar://profile:1"
    assert run(*with_profile, WTP_BROKER="pulsar://env:1").broker.url == "pulsar://env:1"
    flag = ("--broker", "pulsar://flag:1")
    assert run(*with_profile, *flag, WTP_BROKER="pulsar://env:1").broker.url == "pulsar://flag:1"


def test_profile_from_the_environment(tmp_path: Any) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text("router:\n  mtu: 1300\n", encoding="utf-8")
    assert run(WTP_PROFILE=str(profile)).router.mtu == 1300


def test_variables_without_a_flag_count_too() -> None:
    assert run(WTP_FPS="12.5").publish.fps == 12.5


def test_switches_and_extras() -> None:
    assert run().router.retry is None
    assert run("--retry").router.retry is True
    assert run("--no-retry").router.retry is False
    assert run().publish.gop == 9


def test_other_types() -> None:
    run("--duration", "1.5m", "-o", "json")
    assert seen["duration"] == 90.0
    assert seen["output"] is Output.JSON
    assert run("--log-level", "DEBUG").logging.level == "debug"


def test_empty_variables_are_not_given() -> None:
    assert run(WTP_BROKER="", WTP_MTU="", WTP_FPS="").broker.url == "pulsar://127.0.0.1:6650"


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"WTP_FPS": "fast"}, "a number"),
        ({"WTP_MTU": "1.5"}, "a number"),
        ({"WTP_BROKER_START": "perhaps"}, "true or false"),
    ],
)
def test_a_wrong_variable_is_named(variables: dict[str, str], word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        environment(variables)
    assert next(iter(variables)) in caught.value.message
    assert word in caught.value.message


@pytest.mark.parametrize(("text", "value"), [("1", True), ("ON", True), ("no", False)])
def test_switch_words(text: str, value: bool) -> None:
    assert environment({"WTP_BROKER_START": text}) == {"broker.start": value}


def test_help_says_default_and_variable() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "URL of the broker." in text
    assert "WTP_BROKER" in text
    assert "pulsar://127.0.0.1:6650" in text
    assert "(2.5M)" in text


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("5s", 5), ("500ms", 0.5), ("1.5m", 90), ("24h", 86400), ("7d", 604800)],
)
def test_seconds(text: str, value: float) -> None:
    assert parse_seconds(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("500", 500), ("64k", 64_000), ("1GB", 10**9), ("1GiB", 2**30), ("1.5 mb", 1_500_000)],
)
def test_bytes(text: str, value: int) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1", "5y", "1e3", "s", "nan"])
def test_no_times_and_sizes(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_seconds(text)
    with pytest.raises(typer.BadParameter):
        parse_bytes(text)
