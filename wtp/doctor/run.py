"""All checks side by side, each with a limit of time, in a fixed order."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from wtp.doctor.finding import Finding, State, Subject
from wtp.errors import ConfigError, UsageError, WtpError

Check = Callable[[Subject], Awaitable[list[Finding]]]

LIMIT_S = 3.5
"""How long a check may take: with Python's own start the command stays below five seconds."""

HEAD_START_S = 1.5
"""How long the others have the machine for themselves, since they measure round trips."""

PATIENT: Mapping[str, float] = {"packages": 12.0, "opencv": 12.0, "sound": 12.0}
"""Checks that import libraries: they wait for nobody but this machine, and begin last."""

CHECKS: Mapping[str, str] = {
    "python": "wtp.doctor.python",
    "packages": "wtp.doctor.packages",
    "opencv": "wtp.doctor.opencv",
    "camera": "wtp.doctor.camera",
    "sound": "wtp.doctor.sound",
    "udp": "wtp.doctor.udp",
    "certificate": "wtp.doctor.certificate",
    "router": "wtp.doctor.router",
    "clock": "wtp.doctor.clock",
    "broker": "wtp.doctor.broker",
    "ports": "wtp.doctor.ports",
    "disk": "wtp.doctor.disk",
    "processes": "wtp.doctor.processes",
    "terminal": "wtp.doctor.terminal",
}
"""Name of a check to the module that holds its `look`, in the order of the answer."""


def choose(names: Sequence[str]) -> list[str]:
    """The checks that were named, in the order of `CHECKS`; all for none.

    Raises:
        UsageError: One of them does not exist.
    """
    for name in names:
        if name not in CHECKS:
            raise UsageError(
                f"There is no check {name!r}.", hint=f"There are: {', '.join(CHECKS)}."
            )
    return [name for name in CHECKS if name in names or not names]


async def diagnose(
    subject: Subject, names: Sequence[str] = (), limit_s: float | None = None
) -> list[Finding]:
    """Look at everything, or at what was named.

    Args:
        subject: What is looked at.
        names: Checks; none means all.
        limit_s: How long one check may take; None: as above.

    Returns:
        What was found, in the order of `CHECKS`; at least one finding a check.

    Raises:
        UsageError: There is no such check.
    """
    chosen = choose(names)
    asyncio.get_running_loop().set_default_executor(_Daemons())
    with _silence():
        looks = {name: await asyncio.to_thread(_load, name) for name in chosen}
        tasks = {
            name: asyncio.create_task(_look(name, looks[name], subject, limit_s or LIMIT_S))
            for name in chosen
            if name not in PATIENT
        }
        if tasks:
            await asyncio.wait(tasks.values(), timeout=HEAD_START_S)
        for name in chosen:
            if name in PATIENT:
                look = _look(name, looks[name], subject, limit_s or PATIENT[name])
                tasks[name] = asyncio.create_task(look)
        await asyncio.gather(*tasks.values())
    return [finding for name in chosen for finding in tasks[name].result()]


def _load(name: str) -> Check | Exception:
    """Import a check; one that cannot be imported is a finding later."""
    try:
        look: Check = import_module(CHECKS[name]).look
    except Exception as error:  # noqa: BLE001 - libraries raise anything when they are damaged
        return error
    return look


async def _look(
    name: str, look: Check | Exception, subject: Subject, limit_s: float
) -> list[Finding]:
    """Run one check; whatever happens in it becomes a finding."""
    state, named = State.UNKNOWN, {"router": subject.router_named, "broker": subject.broker_named}
    try:
        if isinstance(look, Exception):
            raise look
        async with asyncio.timeout(limit_s):
            return await look(subject)
    except TimeoutError:
        text, mend = f"no result within {limit_s:g} s", f"wtp doctor {name}"
        state = State.FAULT if named.get(name) else State.UNKNOWN
    except (UsageError, ConfigError) as error:
        state, text, mend = State.FAULT, error.message, error.hint
    except WtpError as error:
        text, mend = error.message, error.hint
    except Exception as error:  # noqa: BLE001 - a check that fails must not take the others along
        text, mend = f"the check itself failed: {type(error).__name__}: {error}", ""
    why = "Nothing is known about this as long as the check cannot be finished."
    return [Finding(name, state, text, why, mend)]


class _Daemons(ThreadPoolExecutor):
    """Runs each call in a daemon thread: a name server that hangs does not hold up the end."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **named))
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits
                future.set_exception(error)

        threading.Thread(target=work, daemon=True, name="doctor").start()
        return future


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what parts of wtp and its libraries log off stderr: findings say it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
