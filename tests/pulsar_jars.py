"""The jars of Apache Pulsar, fetched once by Maven into a cache outside the checkout.

    python -m tests.pulsar_jars        fetches them now and prints their folder

The server distribution is not among the Maven artifacts, but `pulsar-broker` is, and it brings
`PulsarStandaloneStarter` and, through its dependencies, the official Java clients.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "4.0.7"
"""Release of Apache Pulsar that the tests run."""

PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
FETCH_S = 900
"""Seconds for 235 MB from Maven's central repository; about 180 on a good line."""

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>wtp.tests</groupId><artifactId>pulsar</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.pulsar</groupId><artifactId>pulsar-broker</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


class NoJars(RuntimeError):
    """Maven could not fetch them."""


def cache() -> Path:
    """Folder for what a run may keep for the next one ($WTP_TEST_CACHE or ~/.cache/wtp-tests)."""
    return Path(os.environ.get("WTP_TEST_CACHE") or Path.home() / ".cache" / "wtp-tests")


def jars() -> Path:
    """The folder of jars, fetched now when it is not there; waits for another run's fetch.

    Raises:
        NoJars: Maven failed; the message holds the end of what it said.
    """
    folder = cache() / f"pulsar-{VERSION}"
    library, complete = folder / "lib", folder / "complete"
    if complete.is_file():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.is_file():
            shutil.rmtree(library, ignore_errors=True)
            _fetch(folder, library)
            complete.touch()
    return library


def _fetch(folder: Path, library: Path) -> None:
    (folder / "pom.xml").write_text(POM, encoding="utf-8")
    command = ["mvn", "-q", "-B", PLUGIN, "-DincludeScope=runtime", f"-DoutputDirectory={library}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoJars(f"Maven did not fetch Apache Pulsar {VERSION}: {error}") from error
    if done.returncode != 0 or not any(library.glob("pulsar-broker-*.jar")):
        said = (done.stdout + done.stderr).strip()[-3000:]
        raise NoJars(
            f"Maven could not fetch Apache Pulsar {VERSION} (code {done.returncode}); "
            f"try it in {folder}: {' '.join(command)}\n{said}"
        )


if __name__ == "__main__":
    sys.stdout.write(f"{jars()}\n")
