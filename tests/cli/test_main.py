"""The root command: what it imports, how it ends, what errors look like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from wtp import __version__
from wtp.cli import COMMANDS
from wtp.cli.group import invoke, leaf
from wtp.errors import ConnectionFailed, WtpError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "aioquic", "aiohttp", "cv2", "av", "pulsar", "numpy", "yaml", "rich",
    "cryptography", "sounddevice", "asyncio", "wtp.config", "wtp.transport",
}  # fmt: skip


def wtp(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wtp", *args],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["ruter"]])
def test_the_root_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys, json\nfrom wtp.cli.group import invoke\n"
        f"code = invoke({args!r})\n"
        "sys.stdout.write('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & HEAVY
    if args == ["--help"]:
        assert "pydantic" not in loaded  # Typer itself takes it to check values


def test_help_lists_every_command_and_its_module_exists() -> None:
    text = wtp("--help").stdout
    for name, (module, line) in COMMANDS.items():
        assert f"{name} " in text
        assert line in " ".join(text.split())
        assert find_spec(module) is not None, module


def test_version() -> None:
    assert wtp("--version").stdout == f"wtp {__version__}\n"


def test_no_command_shows_the_help_and_is_a_usage_error() -> None:
    done = wtp()
    assert done.returncode == 2
    assert "Commands:" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("args", "sentence", "hint"),
    [
        (["ruter"], "No such command 'ruter'. Did you mean 'router'?", "See `wtp --help`."),
        (["--versoin"], "No such option: --versoin.", "Did you mean --version?"),
        (["certs", "shwo"], "Did you mean 'show'?", "See `wtp certs --help`."),
        (["router", "--lisen", "x"], "No such option: --lisen.", "Did you mean --listen?"),
        (["router", "--mtu", "wide"], "Invalid value for '--mtu'", "See `wtp router --help`."),
        (["router", "--mtu", "99999"], "router.mtu = 99999", "See --help."),
        (["router", "--listen", "nowhere"], "router.listen = 'nowhere'", "See --help."),
        (["certs", "show", "--profile", "nope"], "There is no profile 'nope'.", "local"),
    ],
)
def test_usage_errors(
    args: list[str], sentence: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(args) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert lines[0].startswith("error: ")
    assert sentence in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]
    assert out == ""


def test_a_profile_error_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("router:\n  mtu: 1200\n  lissten: x\n", encoding="utf-8")
    assert invoke(["certs", "show", "--profile", str(profile)]) == 2
    assert f"{profile}, line 3: router.lissten: unknown key." in capsys.readouterr().err


def test_errors_without_a_traceback_unless_asked(tmp_path: Path) -> None:
    args = ("certs", "show", "--certs", str(tmp_path))
    plain = wtp(*args, WTP_DEBUG="")
    assert plain.returncode == 1
    assert plain.stderr.splitlines() == [
        f"error: There is no certificate in {tmp_path}.",
        "hint: Create a new one with `wtp certs create`.",
    ]
    assert "Traceback" in wtp(*args, WTP_DEBUG="1").stderr


def test_a_closed_pipe_is_quiet() -> None:
    for args in ("--help", "router --help"):
        command = f"{sys.executable} -m wtp {args}; echo $? >&3"
        script = f"exec 3>&2; ({command}) 2>&3 | true"
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.stderr.strip() == "0", done.stderr


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["router", "--listen", "\x1b[2J:x"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_the_error_that_matters_comes_out_of_groups() -> None:
    inner = ConnectionFailed("down")
    group = BaseExceptionGroup("a", [ValueError("x"), BaseExceptionGroup("b", [inner])])
    assert leaf(group) is inner
    assert isinstance(leaf(ExceptionGroup("a", [ValueError("x")])), ValueError)
    assert leaf(inner) is inner


def test_exit_codes_are_those_of_the_design() -> None:
    codes = {WtpError.exit_code, ConnectionFailed.exit_code}
    assert codes == {1, 3}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_commands_imports_none(shell: str) -> None:
    env = {
        "_WTP_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "wtp ro",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "wtp ro",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = wtp(**env)
    assert "router" in done.stdout
    assert "publish" not in done.stdout


def test_a_word_that_is_no_number_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["publish", "--fps", "abc"]) == 2
    err = capsys.readouterr().err
    assert "'--fps'" in err
    assert "'abc' should be a valid number." in err
