"""Real browsers, headless, pointed at a page that posts its result back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

FOLDER = Path(__file__).parent
RESULT_S = 40

QUIET_FIREFOX = {
    "app.update.auto": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.trr.mode": 5,
    "services.settings.server": "",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


def command(browser: str, profile: Path, url: str) -> list[str]:
    """The command line of a browser with a fresh profile."""
    if browser == "chromium":
        return [
            shutil.which("chromium") or "chromium", "--headless", "--no-sandbox", "--disable-gpu",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={profile}", url,
        ]  # fmt: skip
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in QUIET_FIREFOX.items()]
    (profile / "user.js").write_text("\n".join(lines))
    return [
        shutil.which("firefox-esr") or "firefox-esr", "--headless", "--no-remote",
        "--profile", str(profile), url,
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def page(results: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[str]:
    """Serve the test page on loopback and collect what it posts."""

    async def post(request: web.Request) -> web.Response:
        results.put_nowait(json.loads(await request.text()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/result", post)
    app.router.add_static("/", FOLDER)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/page.html"
    finally:
        await runner.cleanup()


async def run_page(browser: str, folder: Path, **query: str) -> Any:
    """Open the page in a browser and return the value that its test gave.

    Raises:
        AssertionError: The page reported an error.
    """
    results: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    profile = folder / browser
    profile.mkdir()
    async with page(results) as base:
        process = await asyncio.create_subprocess_exec(
            *command(browser, profile, f"{base}?{urlencode(query)}"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env={"HOME": str(profile), "PATH": "/usr/bin:/bin", "MOZ_HEADLESS": "1"},
        )
        try:
            async with asyncio.timeout(RESULT_S):
                result = await results.get()
        finally:
            with contextlib.suppress(ProcessLookupError):
                import os

                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert "error" not in result, result["error"]
    return result["value"]
