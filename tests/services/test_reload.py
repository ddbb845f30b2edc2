from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from wtp.config import reload
from wtp.config.load import load
from wtp.config.reload import Reload
from wtp.config.schema import Settings
from wtp.errors import ConfigError

GOOD = "services:\n  video:\n    url: http://127.0.0.1:8081/process\n"
OTHER = GOOD.replace("8081", "9999") + "service_defaults: {timeout: 2.0}\n"
BROKEN = "services:\n  video:\n    url: http://127.0.0.1:8081/process\n    tiemout: 3\n"


class Watched:
    def __init__(self, path: Path, **values: object) -> None:
        self.path = path
        self.reload = Reload(str(path), values, ("services", "service_defaults"))
        self.taken: asyncio.Queue[Settings] = asyncio.Queue()

    async def next(self) -> Settings:
        async with asyncio.timeout(60):
            return await self.taken.get()

    async def log_of(self, caplog: pytest.LogCaptureFixture, text: str) -> None:
        async with asyncio.timeout(60):
            while text not in caplog.text:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def watching(path: Path, **values: object) -> AsyncIterator[Watched]:
    watched = Watched(path, **values)
    settings = load(str(path), values)
    task = asyncio.create_task(watched.reload.watch(settings, watched.taken.put_nowait))
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Path:
    monkeypatch.setattr(reload, "LOOK_S", 0.01)
    caplog.set_level(logging.INFO, "wtp.config")
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    return path


def edit(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def rename_over(path: Path, text: str) -> None:
    """Replace a file atomically by another of the same size and time."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    stamp = path.stat()
    os.utime(beside, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    beside.rename(path)


async def test_a_change_is_taken_and_named(profile: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with watching(profile) as watched:
        edit(profile, OTHER)
        settings = await watched.next()
    assert settings.services["video"].url == "http://127.0.0.1:9999/process"
    assert settings.service_defaults.timeout == 2.0
    assert (
        "services.video.url: http://127.0.0.1:8081/process -> http://127.0.0.1:9999/process"
        in caplog.text
    )
    assert "service_defaults.timeout: 5.0 -> 2.0" in caplog.text
    assert watched.reload.loaded == 1


async def test_an_atomic_rename_is_seen(profile: Path) -> None:
    async with watching(profile) as watched:
        rename_over(profile, GOOD.replace("8081", "7777"))
        assert (await watched.next()).services["video"].url == "http://127.0.0.1:7777/process"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BROKEN, "mine.yaml, line 4: services.video.tiemout: unknown key"),
        (GOOD + "  audio:\n    url: nonsense\n", "mine.yaml, line 4: services.audio"),
        (GOOD + "\t- x", "mine.yaml, line 4"),
    ],
)
async def test_a_broken_edit_keeps_the_last_good_one(
    profile: Path, caplog: pytest.LogCaptureFixture, text: str, line: str
) -> None:
    async with watching(profile) as watched:
        edit(profile, text)
        await watched.log_of(caplog, "The last good configuration stays in use.")
        await asyncio.sleep(0.05)
        assert watched.taken.empty()
        assert line in watched.reload.snapshot()["error"]
        edit(profile, OTHER)
        await watched.next()
    assert caplog.text.count("stays in use") == 1
    assert line in caplog.text
    assert "is in order again" in caplog.text
    assert watched.reload.error == ""


async def test_a_file_that_goes_and_comes_back(
    profile: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(profile) as watched:
        remove(profile)
        await watched.log_of(caplog, "cannot be read")
        edit(profile, GOOD)
        await watched.log_of(caplog, "is in order again")
        assert watched.taken.empty()
        edit(profile, OTHER)
        await watched.next()


async def test_other_sections_need_a_restart_and_flags_still_win(
    profile: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(profile, **{"rooms.room": "mine"}) as watched:
        edit(profile, "rooms: {room: theirs}\nrouter: {mtu: 1300}\n" + GOOD)
        await watched.log_of(caplog, "router.mtu was changed and needs a restart")
        edit(profile, "rooms: {room: theirs}\nrouter: {mtu: 1300}\n" + OTHER)
        settings = await watched.next()
    assert settings.rooms.room == "mine"
    assert caplog.text.count("needs a restart") == 1


async def test_the_name_of_the_original_platform_is_understood(profile: Path) -> None:
    async with watching(profile) as watched:
        edit(profile, GOOD + "global:\n  max_retries: 7\n")
        assert (await watched.next()).service_defaults.max_retries == 7


async def test_passwords_stay_out_of_the_log(
    profile: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(profile) as watched:
        edit(profile, GOOD.replace("127.0.0.1", "me:secret@host"))
        await watched.next()
    assert "secret" not in caplog.text
    assert "http://host:8081/process" in caplog.text


def test_a_profile_that_is_not_there() -> None:
    with pytest.raises(ConfigError):
        Reload("no-such-profile", {}, ())
