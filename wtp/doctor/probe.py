"""Libraries tried in a process of their own: one that hangs, crashes or chatters harms nobody.

`python -m wtp.doctor.probe WORD...` does one thing a word and writes a line of JSON for each:

    NAME      imports the module of that name
    opencv    imports OpenCV as wtp does, and asks whether it can open windows
    sound     loads PortAudio, and lists microphones and speakers
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from wtp.children.child import child_environment

Answer = dict[str, Any]
"""`problem` ("" when it worked), `remedy`, and what the word gives besides."""

NICE = 10
"""Importing takes a second of CPU time, in which the checks of the network measure round trips."""

LIMIT_S = 9.0
"""Somewhat below the limit of such a check, so that what is known by then can be told."""


async def probe(words: Sequence[str], limit_s: float = LIMIT_S) -> dict[str, Answer]:
    """Try something in another process.

    Args:
        words: As above.
        limit_s: The process is killed after so long.

    Returns:
        The answer to each word that was reached. Where the process died or was killed, the word it
        was at has that as its `problem`; later ones are left out.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wtp.doctor.probe", *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=child_environment({}),
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101 - PIPE was asked for
    answers: dict[str, Answer] = {}
    late = False
    try:
        async with asyncio.timeout(limit_s):
            while line := await process.stdout.readline():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    answer = json.loads(line)
                    answers[answer.pop("word")] = answer
            await process.wait()
    except TimeoutError:
        late = True
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    reached = words[len(answers)] if len(answers) < len(words) else None
    if reached is not None:
        how = f"took longer than {limit_s:g} s" if late else _end(process.returncode or 0)
        answers[reached] = {"problem": how, "remedy": "", "late": late}
    return answers


def _end(code: int) -> str:
    if code < 0:
        return f"crashes Python ({signal.Signals(-code).name})"
    return f"ends Python with {code}"


def main(words: Sequence[str]) -> None:
    """Do what the words say; one line of JSON each on what was standard output."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # libraries that print to it would spoil the lines
    for word in words:
        out.write(json.dumps({"word": word, **_answer(word)}) + "\n")
        out.flush()


def _answer(word: str) -> Answer:
    from wtp.errors import WtpError

    try:
        more = {"opencv": _opencv, "sound": _sound}.get(word, lambda: _import(word))()
    except WtpError as error:
        return {"problem": error.message, "remedy": error.hint}
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the answer
        return {"problem": f"{type(error).__name__}: {error}", "remedy": ""}
    return {"problem": "", "remedy": "", **more}


def _import(name: str) -> Answer:
    import_module(name)
    return {}


def _opencv() -> Answer:
    from wtp.media.libraries import load_cv2

    cv2 = load_cv2()
    lines = cv2.getBuildInformation().splitlines()
    gui = next((line for line in lines if line.strip().startswith("GUI:")), "")
    return {"version": cv2.__version__, "gui": gui.partition(":")[2].strip()}


def _sound() -> Answer:
    from wtp.media.libraries import load_sounddevice
    from wtp.media.sounddevices import list_microphones, list_speakers

    version = load_sounddevice().get_portaudio_version()[1]
    answer: Answer = {"version": version}
    for key, list_them in (("microphones", list_microphones), ("speakers", list_speakers)):
        found = list_them(rates=False)
        answer[key] = [{"name": one.name, "default": one.default} for one in found]
    return answer


if __name__ == "__main__":
    main(sys.argv[1:])
