"""Options out of settings: one declaration gives flag, environment variable and profile key.

A command declares `Annotated[str | None, option("broker.url", "--broker")] = None`, takes a
`typer.Context` and calls `load_settings(ctx)`; what was given is collected on the way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, get_args

import typer

from wtp.cli.complete import rooms
from wtp.cli.group import errors_as_json
from wtp.config.keys import variables
from wtp.config.load import load
from wtp.config.schema import LoggingSettings, Settings, find
from wtp.errors import ConfigError

VALUES = "wtp.values"
"""Where a context keeps what options of settings were given: dotted key to value."""

PROFILE = "wtp.profile"
"""Where a context keeps the profile's name."""

DEFAULT_PROFILE = "local"


class Output(StrEnum):
    """How a one-shot answer is printed."""

    TABLE = "table"
    JSON = "json"


def option(
    key: str,
    *names: str,
    help_text: str = "",
    panel: str | None = None,
    metavar: str | None = None,
    hidden: bool = False,
    parser: Callable[[str], Any] | None = None,
    complete: Callable[..., Any] | None = None,
) -> Any:
    """The `typer.Option` of a setting.

    Args:
        key: Dotted key of the setting, e.g. `broker.url`.
        names: Flags, e.g. `--broker`; `--retry/--no-retry` for a switch.
        help_text: Replaces the setting's own sentence.
        panel: Title of the group of options it stands in.
        metavar: What stands for the value in the help.
        hidden: Left out of the help.
        parser: Turns the text into the setting's type.
        complete: Completion callback, as Typer's `autocompletion`.

    Returns:
        To be put into `Annotated[type | None, ...]` with the default None (= not given).
    """
    default, sentence, env = find(key)

    def keep(ctx: typer.Context, value: Any) -> Any:
        ctx.meta.setdefault(VALUES, {})[key] = value
        return value

    return typer.Option(
        *names,
        help=help_text or sentence,
        envvar=env or None,
        callback=keep,
        show_default=_shown(default),
        rich_help_panel=panel,
        metavar=metavar,
        hidden=hidden,
        parser=parser,
        autocompletion=complete,
    )


def _shown(default: Any) -> bool | str:
    if default in ("", None, False) or default == []:
        return False
    return "true" if default is True else str(default)


def _keep_profile(ctx: typer.Context, value: str) -> str:
    ctx.meta[PROFILE] = value
    return value


def load_settings(ctx: typer.Context, extra: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this command line: flag > environment > profile > default.

    Args:
        ctx: The command's context, where `option` has collected what was given.
        extra: More values by dotted key; they win.

    Raises:
        ConfigError: The profile, a variable or a value is wrong.
    """
    settings = load(*sources(ctx, extra))
    if settings.logging.format == "json":
        errors_as_json()
    return settings


def sources(
    ctx: typer.Context, extra: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Where `load_settings` gets settings from: the profile, and what is put over it by key."""
    values = environment(os.environ)
    given: Mapping[str, Any] = ctx.meta.get(VALUES, {})
    values.update({key: value for key, value in given.items() if value is not None})
    values.update({key: value for key, value in (extra or {}).items() if value is not None})
    profile = ctx.meta.get(PROFILE) or os.environ.get("WTP_PROFILE") or DEFAULT_PROFILE
    return profile, values


def environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Settings out of environment variables, whether or not a command has flags for them.

    Raises:
        ConfigError: A variable does not fit its setting's type; the variable is named.
    """
    values: dict[str, Any] = {}
    for env, key in variables().items():
        text = environ.get(env)
        if text:
            values[key] = _typed(env, text, find(key)[0])
    return values


SWITCH = {"1": True, "true": True, "yes": True, "on": True}
SWITCH |= {"0": False, "false": False, "no": False, "off": False}


def _typed(env: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return SWITCH[text.lower()]
        if isinstance(default, (int, float)):
            return type(default)(text)
    except (KeyError, ValueError):
        what = "true or false" if isinstance(default, bool) else "a number"
        raise ConfigError(
            f"The environment variable {env} is {text!r}, not {what}.", hint=f"Set or unset {env}."
        ) from None
    return text


_TIME = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_SIZE |= {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}


def parse_seconds(text: str | float) -> float:
    """Read a length of time: `5`, `5s`, `500ms`, `1.5m`, `24h`, `7d`; bare numbers are seconds.

    A number, which an option's default may be, stays as it is.

    Raises:
        BadParameter: It is none.
    """
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", text.strip().lower())
    if not match:
        raise typer.BadParameter(f"{text!r} is not a time; write 30, 500ms, 10s, 5m or 24h.")
    return float(match[1]) * _TIME[match[2] or "s"]


def parse_bytes(text: str | int) -> int:
    """Read a size: `500`, `64k`, `1GB`, `1GiB`; K, M, G are powers of 1000, Ki, Mi, Gi of 1024.

    A number, which an option's default may be, stays as it is.

    Raises:
        BadParameter: It is none.
    """
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?", text.strip().lower())
    if not match:
        raise typer.BadParameter(f"{text!r} is not a size; write 500MB, 1GB or 64KiB.")
    return int(float(match[1]) * _SIZE[match[2]])


LEVELS: tuple[str, ...] = get_args(LoggingSettings.model_fields["level"].annotation)


def _level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(LEVELS)}.")
    return text.lower()


Profile = Annotated[
    str,
    typer.Option(
        "--profile",
        help="Profile of settings: a name or a file's path.",
        envvar="WTP_PROFILE",
        callback=_keep_profile,
        rich_help_panel="Common",
    ),
]
Broker = Annotated[str | None, option("broker.url", "--broker", metavar="URL")]
Admin = Annotated[str | None, option("broker.admin", "--admin", metavar="URL")]
Room = Annotated[str | None, option("rooms.room", "--room", complete=rooms)]
RouterUrl = Annotated[str | None, option("router.url", "--router", metavar="URL")]
LogLevel = Annotated[
    str | None,
    option("logging.level", "--log-level", panel="Common", metavar="LEVEL", parser=_level),
]
LogFormat = Annotated[
    str | None, option("logging.format", "--log-format", panel="Common", metavar="text|json")
]
Metrics = Annotated[
    str | None, option("metrics.listen", "--metrics", panel="Common", metavar="HOST:PORT")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No status lines.", rich_help_panel="Common")
]
ChildFlag = Annotated[bool, typer.Option("--child", hidden=True, help="Run under a parent.")]
Duration = Annotated[
    float | None,
    typer.Option("--duration", help="End after this time, e.g. 30s.", metavar="TIME",
                 parser=parse_seconds),
]  # fmt: skip
OutputFormat = Annotated[
    Output, typer.Option("--output", "-o", help="Format.", rich_help_panel="Common")
]
