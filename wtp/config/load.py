"""Where settings come from: profiles, overridden key by key; and where data lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from wtp.config.schema import PATTERNS, Settings
from wtp.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent.parent
"""The installed package; profiles ride in the wheel beside its modules."""


def home() -> Path:
    """The data folder: `$WTP_HOME`, else the user's (platformdirs)."""
    if os.environ.get("WTP_HOME"):
        return Path(os.environ["WTP_HOME"])
    import platformdirs

    return Path(platformdirs.user_data_dir("wtp", appauthor=False))


def certs_folder(settings: Settings) -> Path:
    """Where the certificate is: as set, `./certs` inside a checkout, else in the data folder."""
    if settings.router.certs:
        return Path(settings.router.certs)
    local = Path("certs")
    if (local / "README.md").is_file() and Path("pyproject.toml").is_file():
        return local
    return home() / "certs"


def broker_folder(settings: Settings) -> Path:
    """Where the embedded broker keeps its data."""
    return Path(settings.broker.data) if settings.broker.data else home() / "broker"


def profile_folders() -> list[Path]:
    """Where a profile name is looked up, in this order."""
    built_in = PACKAGE / "profiles"
    checkout = PACKAGE.parent / "profiles"
    folders = [Path("profiles"), home() / "profiles", built_in, checkout]
    return [folder for folder in folders if os.path.isdir(folder)]


def find_profile(name: str) -> Path:
    """The file of a profile, by path or by name.

    Raises:
        ConfigError: There is none; the message lists the names there are.
    """
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        if os.path.isfile(name):
            return Path(name)
        raise ConfigError(f"There is no profile file {name}.", hint="Check the path.")
    for folder in profile_folders():
        path = folder / f"{name}.yaml"
        if os.path.isfile(path):
            return path
    known = sorted({p.stem for folder in profile_folders() for p in folder.glob("*.yaml")})
    raise ConfigError(
        f"There is no profile {name!r}.", hint=f"Known: {', '.join(known)}; or give a file's path."
    )


class _Loader(yaml.SafeLoader):
    """YAML as profiles use it: every fault has a line, and a small text stays small.

    Aliases are refused: nine lines of them stand for a billion values. So are keys that stand
    twice, of which YAML would silently take the last.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # their stub
            raise ComposerError(None, None, "aliases are not allowed, write the value out", mark)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value[:40]!r} stands twice"
                    raise ComposerError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, str) and b"\0" in value.encode():  # half surrogates raise, too
                raise ValueError(value)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            what = str(node.tag).rpartition(":")[2]
            problem = f"{str(node.value)[:40]!r} cannot be read as {what}"
            raise ConstructorError(None, None, problem, node.start_mark) from error
        return value


def _lines(node: yaml.Node | None, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """Line numbers (from 1) of every key of a YAML tree, by path."""
    out: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            out[inner] = key.start_mark.line + 1
            out.update(_lines(value, inner))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            inner = (*path, str(index))
            out[inner] = value.start_mark.line + 1
            out.update(_lines(value, inner))
    return out


_ORIGINAL: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("global",): ("service_defaults",),
    ("pulsar", "broker_url"): ("broker", "url"),
    ("pulsar", "send_to_pulsar"): ("processor", "send_to_pulsar"),
}
"""Keys of the original platform's files, and what they are called here."""


def _rename(raw: dict[str, Any], lines: dict[tuple[str, ...], int], source: str) -> None:
    """Move what stands under a key of the original platform to ours, with its lines.

    Raises:
        ConfigError: The same setting stands under both names.
    """
    for old, new in _ORIGINAL.items():
        *path, name = old
        at: Any = raw
        for part in path:
            at = at.get(part) if isinstance(at, dict) else None
        if not isinstance(at, dict) or name not in at:
            continue
        if new in lines:
            raise ConfigError(
                f"{source}, line {lines[old]}: {'.'.join(old)} and {'.'.join(new)} are the same "
                "setting.",
                hint="Keep one of them.",
            )
        value = at.pop(name)
        if path and not at:
            del raw[path[0]]
        target = raw
        for part in new[:-1]:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                return  # the schema will say so
        target[new[-1]] = value
        lines.update(
            {new + key[len(old) :]: n for key, n in lines.items() if key[: len(old)] == old}
        )


def parse(text: str, source: str) -> Settings:
    """Settings out of the text of a profile.

    Args:
        text: YAML.
        source: What to call it in errors, usually the path.

    Raises:
        ConfigError: Not YAML, an unknown key, or a wrong type or value; names source and line.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        raw: Any = None if node is None else loader.construct_document(node)
        lines = _lines(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"{source}, line {line}: {problem}.", hint="Mend the file.") from error
    except RecursionError as error:
        raise ConfigError(f"{source} is nested too deeply.", hint="Mend the file.") from error
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{source}, line 1: a profile is a mapping of sections.")
    _rename(raw, lines, source)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise _explain(error, source, lines) from error


def _explain(
    error: ValidationError, source: str, lines: Mapping[tuple[str, ...], int]
) -> ConfigError:
    """Say each fault with its line."""
    sentences = []
    for fault in error.errors(include_url=False):
        path = tuple(str(part) for part in fault["loc"])
        known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in lines), ())
        line = lines.get(known, 1)
        key = ".".join(known or path)
        sentences.append(f"{source}, line {line}: {key}: {_wrong(fault)}.")
    return ConfigError(" ".join(sentences), hint="Every key is described in profiles/local.yaml.")


def _wrong(fault: ErrorDetails) -> str:
    """What is wrong with a value, for people."""
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    if fault["type"] == "string_pattern_mismatch":
        return f"write {PATTERNS[fault['ctx']['pattern']]}"
    words = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return words[:1].lower() + words[1:]


def override(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Put flags and environment over a profile.

    Args:
        settings: The profile's.
        values: Dotted key to value; None leaves the profile's.

    Raises:
        ConfigError: A value is of a wrong type or out of its limits.
    """
    raw = settings.model_dump()
    for key, value in values.items():
        if value is None:
            continue
        *sections, name = key.split(".")
        target = raw
        for section in sections:
            target = target[section]
        target[name] = value
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        sentences = [
            f"{'.'.join(map(str, f['loc']))} = {f['input']!r}: {_wrong(f)}."
            for f in error.errors(include_url=False)
        ]
        raise ConfigError(" ".join(sentences), hint="See --help.") from error


def load(profile: str = "local", values: Mapping[str, Any] | None = None) -> Settings:
    """Settings of a profile with flags and environment over it.

    Args:
        profile: Name or path.
        values: Dotted key to value, None for "not given".

    Raises:
        ConfigError: As `find_profile`, `parse` and `override`.
    """
    path = find_profile(profile)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="Mend the file.") from error
    return override(parse(text, str(path)), values or {})
