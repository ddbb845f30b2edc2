"""The wheel is whole: installed alone, outside the checkout, with its profiles and its demo."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.processes import ROOT, Processes

pytestmark = pytest.mark.e2e


def run(*argv: str | Path, cwd: Path) -> str:
    """The output of a command that must succeed."""
    result = subprocess.run(
        [str(a) for a in argv], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{argv}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel in it.

    Its dependencies are those of the environment that runs the tests, by a path file: they are not
    downloaded again. Path files inside that folder (an editable wtp) are not read from there.
    """
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("wtp-*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    run(*pip, "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    purelib = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    ).strip()
    own = Path(sysconfig.get_path("purelib"))
    (Path(purelib) / "dependencies.pth").write_text(f"{own}\n", encoding="utf-8")
    return python


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A working folder outside the checkout."""
    folder = tmp_path / "outside"
    folder.mkdir()
    assert ROOT not in folder.parents
    return folder


def test_it_is_the_wheel_that_is_imported(python: Path, outside: Path) -> None:
    path = Path(run(python, "-c", "import wtp; print(wtp.__file__)", cwd=outside).strip())
    assert python.parent.parent in path.parents


def test_every_module_rides_in_it(python: Path, outside: Path) -> None:
    listed = run(
        python,
        "-c",
        "import pathlib, wtp; root = pathlib.Path(wtp.__file__).parent;"
        "print(*sorted(str(p.relative_to(root)) for p in root.rglob('*.py')), sep='\\n')",
        cwd=outside,
    ).split()
    tracked = run("git", "ls-files", "--", "wtp/*.py", cwd=ROOT).split()
    assert {name.removeprefix("wtp/") for name in tracked} <= set(listed)


def test_profiles_ride_in_it(python: Path, outside: Path) -> None:
    code = (
        "from wtp.config.load import find_profile, load\n"
        "import sys\n"
        "for name in sys.argv[1:]:\n"
        "    print(find_profile(name)); load(name)\n"
    )
    names = [path.stem for path in (ROOT / "profiles").glob("*.yaml")]
    assert {"local", "docker", "kubernetes", "production"} <= set(names)
    paths = run(python, "-c", code, *names, cwd=outside).split()
    assert len(paths) == len(names)
    assert all(python.parent.parent in Path(path).parents for path in paths)


def test_the_command_is_installed(python: Path, outside: Path) -> None:
    from wtp import __version__

    assert __version__ in run(python.parent / "wtp", "--version", cwd=outside)


def test_the_demo_runs_outside_the_checkout(
    python: Path, outside: Path, wtp_process: Processes
) -> None:
    demo = wtp_process("demo", "--duration", "5", cwd=outside, python=str(python))
    assert demo.wait(60) == 0, demo.report()
    assert "capture->receipt" in demo.stdout + demo.stderr, demo.report()
    assert list(outside.iterdir()) == []
