"""The profiles that ship: every key documented, every file valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from wtp.config.keys import setting_keys, variables
from wtp.config.load import load, parse
from wtp.config.schema import find

PROFILES = Path(__file__).resolve().parents[2] / "profiles"
ALL = sorted(PROFILES.glob("*.yaml"))
LOCAL = {"rooms.create": True, "broker.start": True}
"""Where `local` differs from the defaults."""


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in tree.items():
        key = prefix + name
        if isinstance(value, dict) and value:
            out.update(leaves(value, f"{key}."))
        else:
            out[key] = value
    return out


def test_the_four_are_there() -> None:
    assert {path.stem for path in ALL} >= {"local", "docker", "kubernetes", "production"}


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_profile_loads(path: Path) -> None:
    assert load(str(path)) == parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_key_has_a_comment(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    keys = [n for n, line in enumerate(lines) if re.match(r"\s*\w+:(\s|$)", line)]
    bare = [lines[n] for n in keys if not lines[n - 1].strip().startswith("#")]
    sections = [line for line in bare if not line.startswith(" ")]
    assert not [line for line in bare if line not in sections], bare
    if path.stem == "local":
        assert not sections


def test_local_has_every_key_with_its_default() -> None:
    written = leaves(yaml.safe_load((PROFILES / "local.yaml").read_text(encoding="utf-8")))
    defaults = {key: LOCAL.get(key, find(key)[0]) for key in setting_keys()}
    assert written == defaults


def test_local_names_every_environment_variable() -> None:
    lines = (PROFILES / "local.yaml").read_text(encoding="utf-8").splitlines()
    text = "\n".join(lines)
    for env in variables():
        assert f"[{env}]" in text


def test_production_is_safe() -> None:
    settings = load(str(PROFILES / "production.yaml"))
    assert settings.rooms.create is False
    assert settings.broker.start is False
    assert settings.router.insecure_no_auth is False
    assert settings.router.retry is True
