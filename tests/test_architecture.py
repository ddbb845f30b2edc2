"""The shape of the code: style, types, layers, sizes, and no secret in the repository."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
MAX_LINES = 600
"""A module over 400 lines is a smell, over 600 a fault (DESIGN, section 9)."""


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """A command at the root of the checkout, with its output."""
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository."""
    listed = run("git", "ls-files", "-z", "--", *patterns)
    assert listed.returncode == 0, listed.stderr
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "argv",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("lint-imports",),
    ],
    ids=" ".join,
)
def test_tools_have_nothing_to_say(argv: tuple[str, ...]) -> None:
    """The configuration is pyproject.toml's: mypy is strict there, the layers stand there."""
    result = run(str(BIN / argv[0]), *argv[1:])
    assert result.returncode == 0, result.stdout + result.stderr


def _imported(path: Path) -> set[str]:
    """Top-level names of the absolute imports of a module, wherever they stand in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def _distributions(lines: list[str]) -> set[str]:
    """Normalised names out of requirement lines."""
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines)
    return {match[0].lower().replace("_", "-") for match in found if match}


def _requirements(name: str) -> list[str]:
    """What an installed package always requires; nothing for one that is not installed here."""
    try:
        return [line for line in requires(name) or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return []


def test_what_is_imported_is_declared() -> None:
    """A package that is here by chance would be missing on the next machine.

    What a declared package itself requires (yarl of aiohttp, say) comes with it.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for group in project["optional-dependencies"].values() for line in group]

    def declared(lines: list[str]) -> set[str]:
        names = _distributions(lines)
        return names.union(*(_distributions(_requirements(name)) for name in names))

    tests = set(project["optional-dependencies"]["test"])
    for_users = declared(project["dependencies"] + [line for line in extras if line not in tests])
    allowed = {"wtp": for_users, "tests": for_users | declared(extras)}
    owners = packages_distributions()
    strangers = {
        f"{path.relative_to(ROOT)}: {name}"
        for tree, known in allowed.items()
        for path in tracked(f"{tree}/*.py")
        for name in _imported(path) - sys.stdlib_module_names - {"wtp", "tests", "_pytest"}
        if known.isdisjoint(owner.lower().replace("_", "-") for owner in owners.get(name, []))
    }
    assert strangers == set()


def test_modules_are_small() -> None:
    sizes = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n")
        for path in tracked("*.py")
    }
    assert sizes
    assert {name: lines for name, lines in sizes.items() if lines > MAX_LINES} == {}


def test_folders_are_two_levels_deep() -> None:
    deep = {
        str(path.parent.relative_to(ROOT))
        for path in tracked("wtp/*.py")
        if len(path.relative_to(ROOT).parts) > 3
    }
    assert deep <= {"wtp/broker/embedded", "wtp/processor/builtin"}


def test_no_key_is_in_the_repository() -> None:
    found = run("git", "grep", "-I", "-l", "-E", "-e", "-----BEGIN [A-Z ]*PRIVATE KEY-----")
    assert (found.returncode, found.stdout) == (1, ""), found.stdout + found.stderr
    assert tracked("*.pem", "*.key", "*.p12", "*.der") == []


@pytest.mark.parametrize("name", ["router.pem", "router.key", "any", "sub/deeper.key"])
def test_certificates_are_ignored(name: str) -> None:
    assert run("git", "check-ignore", "-q", f"certs/{name}").returncode == 0


def test_the_folder_of_certificates_explains_itself() -> None:
    assert (ROOT / "certs" / "README.md") in tracked("certs")


def test_no_test_is_switched_off() -> None:
    """What a test needs is said by the markers of conftest.py, which account for it."""
    words = (
        "@pytest.mark.skip\n",
        "@pytest.mark.skip(",
        "@pytest.mark.xfail",
        "pytest.importorskip",
    )
    hidden = [
        str(path.relative_to(ROOT))
        for path in tracked("tests/*.py")
        if path != Path(__file__)
        and any(word in path.read_text(encoding="utf-8") for word in words)
    ]
    assert hidden == []
