"""User code in processes of its own: what it does wrong costs one object."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processor.parcels import code, parcel
from wtp.errors import UsageError
from wtp.model import Kind
from wtp.processor import isolate
from wtp.processor.code import CodeFailed, CodeMissing, CodeSpec
from wtp.processor.isolate import Isolated, make_runner
from wtp.wire.process import Parcel


@asynccontextmanager
async def running(spec: CodeSpec, kind: Kind = Kind.CHAT, **more: Any) -> AsyncIterator[Isolated]:
    runner = make_runner(spec, kind, **more)
    assert isinstance(runner, Isolated)
    await runner.start()
    try:
        yield runner
    finally:
        await runner.close()


async def payloads(runner: Isolated, sent: Parcel) -> list[bytes]:
    return [made.payload for made in (await runner.process(sent)).parcels]


PICKY = """
import os, sys, time, ctypes
seen = []
def process(text: str):
    seen.append(text)
    print("saw", text)
    if text == "raise": raise ValueError("no such luck")
    if text == "exit": sys.exit(3)
    if text == "hang": time.sleep(60)
    if text == "_exit": os._exit(7)
    if text == "segfault": ctypes.string_at(0)
    if text == "memory": return bytes(8 << 30)
    if text == "type": return 3.14
    if text == "large": return "x" * 20_000
    if text == "fd": [os.write(fd, b"x" * 99) for fd in range(3, 512) if fd_open(fd)]; time.sleep(9)
    if text == "fork" and not os.fork(): time.sleep(60)
    return text.upper() + str(len(seen))
def fd_open(fd):
    try: os.fstat(fd); return True
    except OSError: return False
"""


@pytest.mark.parametrize(
    ("bad", "reason", "same_process"),
    [
        ("raise", "exception", True),
        ("exit", "exception", True),
        ("memory", "exception", True),
        ("type", "wrong-type", True),
        ("large", "wrong-type", True),
        ("hang", "timeout", False),
        ("_exit", "crash", False),
        ("segfault", "crash", False),
        ("fd", "crash", False),
    ],
)
async def test_a_fault_costs_one_object(
    tmp_path: Path, bad: str, reason: str, same_process: bool
) -> None:
    timeout_s = 2 if bad == "hang" else 20
    async with running(code(tmp_path, PICKY), timeout_s=timeout_s) as runner:
        assert await payloads(runner, parcel(b"a")) == [b"A1"]
        with pytest.raises(CodeFailed) as caught:
            await runner.process(parcel(bad.encode()))
        assert caught.value.code == reason
        async with asyncio.timeout(60):
            while True:
                try:
                    after = await payloads(runner, parcel(b"b"))
                    break
                except CodeMissing:
                    assert not same_process
        assert after == ([b"B3"] if same_process else [b"B1"])
        snapshot = runner.snapshot()
        assert snapshot["failed"] == {reason: 1}
        assert snapshot["restarts"] == (0 if same_process else 1)


async def test_an_exception_is_told_with_the_users_frames_only(tmp_path: Path) -> None:
    async with running(code(tmp_path, PICKY)) as runner:
        with pytest.raises(CodeFailed) as caught:
            await runner.process(parcel(b"raise"))
    assert "no such luck" in caught.value.message
    assert 'mine.py:7 in process: if text == "raise"' in caught.value.message
    assert "wtp/processor" not in caught.value.message


async def test_a_track_keeps_its_order_and_its_process(tmp_path: Path) -> None:
    text = "import os\ndef process(obj): return f'{os.getpid()} {obj.seq}'\n"
    async with running(code(tmp_path, text), workers=2) as runner:
        sent = [parcel(seq=seq, track=f"default/me/{name}") for seq in range(20) for name in "abcd"]
        made = await asyncio.gather(*(payloads(runner, one) for one in sent))
    processes = set()
    for offset in range(4):
        pids, seqs = zip(*(one[0].split() for one in made[offset::4]), strict=True)
        assert [int(seq) for seq in seqs] == list(range(20))
        assert len(set(pids)) == 1
        processes |= set(pids)
    assert len(processes) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nonsense_that_is_not_there", "No module named 'nonsense_that_is_not_there'"),
        ("def process(obj) return", "SyntaxError"),
        ("1/0", "ZeroDivisionError"),
        ("import sys\nsys.exit(1)", "SystemExit"),
        ("x = 1", "has no process"),
        ("process = 3", "not callable"),
        ("def process(): pass", "takes 0 arguments"),
        ("def process(a, b, c): pass", "takes 3 arguments"),
        ("def process(a, *, b): pass", "takes 2 arguments"),
        ("def process(a: set): pass", "asks for set"),
        ("def process(a: 'Nowhere'): pass", "cannot be read"),
        ("import numpy\ndef process(a: numpy.ndarray): pass", "neither pictures nor sound"),
        ("class process:\n def __init__(self, a): pass\n def __call__(self, a): pass", "arguments"),
        ("import os\nos._exit(3)", "exit code 3"),
    ],
)
async def test_code_that_cannot_be_loaded_is_told(tmp_path: Path, text: str, said: str) -> None:
    runner = make_runner(code(tmp_path, text), Kind.CHAT)
    with pytest.raises((UsageError, CodeMissing)) as caught:
        await runner.start()
    assert said in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert caught.value.hint


async def test_an_import_that_blocks_is_told_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wtp.processor.codeprocess.SAY_LOADING_S", 0.2)
    monkeypatch.setattr("wtp.processor.codeprocess.LOAD_S", 0.5)
    caplog.set_level("INFO", "wtp.processor")
    runner = make_runner(code(tmp_path, "import time; time.sleep(3600)"), Kind.CHAT)
    with pytest.raises(CodeMissing, match=r"importing it took longer than 0\.5 s") as caught:
        await runner.start()
    assert caught.value.hint
    assert "is still being imported" in caplog.text


async def test_an_edit_is_loaded_and_a_broken_one_keeps_the_last_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wtp")
    monkeypatch.setattr(isolate, "LOOK_S", 0.02)
    spec = code(tmp_path, "def process(text: str): return text + '1'")
    async with running(spec, reload=True) as runner:
        assert await payloads(runner, parcel(b"x")) == [b"x1"]
        code(tmp_path, "def process(text: str): return text + 2")
        os.utime(spec.target, ns=(1, 1))
        code(tmp_path, "def process(text: str): return text + '2'")
        os.utime(spec.target, ns=(2, 2))
        await until(lambda: runner.snapshot()["reloads"] >= 1)
        assert await payloads(runner, parcel(b"x")) == [b"x2"]
        code(tmp_path, "def process(text: str) return")
        os.utime(spec.target, ns=(3, 3))
        await until(lambda: "is not used" in caplog.text)
        assert "SyntaxError" in caplog.text
        assert await payloads(runner, parcel(b"x")) == [b"x2"]
        process = runner._slots[0].process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: runner.snapshot()["restarts"] == 1)
        assert await payloads(runner, parcel(b"x")) == [b"x2"]


async def until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


async def test_what_the_code_prints_is_logged_and_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wtp")
    text = "def process(text: str):\n for n in range(1000): print('line', n)\n print('x' * 200000)"
    async with running(code(tmp_path, text)) as runner:
        await runner.process(parcel())
        await until(lambda: "line 0" in caplog.text)
        await runner.process(parcel())
    assert len(caplog.records) < 60


async def test_closing_ends_code_that_hangs(tmp_path: Path) -> None:
    async with running(code(tmp_path, PICKY), timeout_s=60) as runner:
        process = runner._slots[0].process
        assert process is not None
        hanging = asyncio.create_task(runner.process(parcel(b"hang")))
        await asyncio.sleep(0)
        await runner.close()
        with pytest.raises(CodeFailed):
            await hanging
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


async def test_what_the_code_started_ends_with_it(tmp_path: Path) -> None:
    text = "import os, time\ndef process(obj):\n pid = os.fork()\n if not pid: time.sleep(99)\n return str(pid)"  # noqa: E501 - one line of test data
    async with running(code(tmp_path, text)) as runner:
        (pid,) = await payloads(runner, parcel())
        process = runner._slots[0].process
        assert process is not None
        process.kill()
        await until(lambda: runner.snapshot()["restarts"] == 1)
    await until(lambda: not Path(f"/proc/{int(pid)}/cmdline").exists() or gone(int(pid)))


def gone(pid: int) -> bool:
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


async def test_a_builtin_that_needs_no_process_has_none() -> None:
    runner = make_runner(CodeSpec.parse("passthrough"), Kind.VIDEO)
    await runner.start()
    sent = parcel(b"jpeg", Kind.VIDEO)
    assert (await runner.process(sent)).parcels == [sent]
    assert set(runner.snapshot()) == set(
        Isolated(CodeSpec.parse("motion"), Kind.VIDEO, 1, 1, False, 0).snapshot()
    )
    await runner.close()
