"""An embedded broker for the tests of replays against one that runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import Processes


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and admin URL of an embedded broker for all tests here, each with a room of its own."""
    folder = tmp_path_factory.mktemp("broker")
    processes = Processes(folder)
    process = processes(
        "broker", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
        "--data", str(folder / "data"), env={"WTP_HOME": str(folder)},
    )  # fmt: skip
    yield (
        process.wait_for("pulsar://").split()[-1],
        process.wait_for("http://").split()[-1],
    )
    process.stop()
    assert not processes.close()
