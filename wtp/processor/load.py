"""Importing user code and seeing what it wants; runs in the code's own process.

What goes wrong is told with the frames of the user's own files and nothing of ours.
"""

from __future__ import annotations

import importlib
import inspect
import linecache
import sys
import traceback
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wtp.errors import UsageError
from wtp.model import Kind, Object
from wtp.processor.code import CODE_HINT, CodeSpec
from wtp.processor.info import Info

Wish = Literal["object", "bytes", "text", "picture", "sound"]
MOST_FRAMES = 6
"""Frames of a user's traceback that are told."""

MAX_MESSAGE = 1500
_ABSENT_HINT = "Check the name, put its folder into PYTHONPATH, or write file.py:function."
MODULE_NAME = "wtp_user_code"
_OWN = str(Path(__file__).resolve().parent.parent)
_BUILTIN = str(Path(__file__).resolve().parent / "builtin")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Loaded:
    """User code that was imported.

    Attributes:
        call: What is called; for a class, what makes an instance per track.
        per_track: Whether `call` is such a class.
        wish: What the first argument is.
        with_info: Whether there is a second one.
        file: Where it stands; empty when unknown.
    """

    call: Callable[..., Any]
    per_track: bool
    wish: Wish
    with_info: bool
    file: str


def load(spec: CodeSpec, kind: Kind, source: str | None = None) -> Loaded:
    """Import user code.

    Args:
        spec: Which.
        kind: What it will be given.
        source: Text to run instead of that in the file.

    Raises:
        UsageError: It cannot be imported, is not callable, takes too many or too few arguments,
            or asks for what this kind cannot give; the message ends with the user's own frames.
    """
    try:
        module = _run_file(spec, source) if spec.is_file else importlib.import_module(spec.target)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == spec.target.split(".")[0]
        hint = _ABSENT_HINT if absent and not spec.is_file else "Mend it and try again."
        raise UsageError(f"{spec.text} cannot be imported: {describe(error)}", hint=hint) from error
    call: Any = module
    for part in spec.function.split("."):
        call = getattr(call, part, None)
        if call is None:
            raise UsageError(f"{spec.target} has no {spec.function}.", hint=CODE_HINT)
    if not callable(call):
        raise UsageError(f"{spec.text} is not callable.", hint=CODE_HINT)
    per_track = inspect.isclass(call)
    wish, with_info = _signature(spec, call.__call__ if per_track else call, kind, per_track)
    if per_track:
        _check_class(spec, call)
    return Loaded(call, per_track, wish, with_info, getattr(module, "__file__", None) or "")


def _run_file(spec: CodeSpec, source: str | None) -> types.ModuleType:
    """Run a file as a module of its own; its neighbours can be imported."""
    text = Path(spec.target).read_text(encoding="utf-8") if source is None else source
    module = types.ModuleType(MODULE_NAME)
    module.__file__ = spec.target
    sys.modules[MODULE_NAME] = module  # dataclasses and pickling look there
    folder = str(Path(spec.target).parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    linecache.cache[spec.target] = (len(text), None, text.splitlines(keepends=True), spec.target)
    exec(compile(text, spec.target, "exec"), module.__dict__)  # noqa: S102 - running it is the task
    return module


def _check_class(spec: CodeSpec, call: Any) -> None:
    try:
        inspect.signature(call).bind()
    except TypeError as error:
        raise UsageError(
            f"The class {spec.text} takes arguments; one instance is made per track.",
            hint="Give every parameter of __init__ a default.",
        ) from error
    except ValueError:  # a class written in C says nothing about its arguments
        pass


def _signature(
    spec: CodeSpec, function: Callable[..., Any], kind: Kind, method: bool
) -> tuple[Wish, bool]:
    try:
        parameters = list(inspect.signature(function).parameters.values())[method:]
    except (ValueError, TypeError):  # a builtin of C
        return "object", False
    places = [p for p in parameters if p.kind in _POSITIONAL]
    needed = [p for p in places if p.default is p.empty]
    forced = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    star = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(needed) > 2 or forced or not (places or star):
        count = len(needed) + len(forced)
        raise UsageError(
            f"{spec.text} takes {count} arguments; it is called with one or two.",
            hint="Write def process(obj: Object) or def process(obj: Object, info: Info).",
        )
    hints = _hints(spec, function)
    first = hints.get(places[0].name) if places else None
    second = hints.get(places[1].name) if len(places) > 1 else None
    return _wish(spec, first, kind), len(needed) == 2 or second is Info


def _hints(spec: CodeSpec, function: Callable[..., Any]) -> dict[str, Any]:
    plain = inspect.unwrap(function)
    if not inspect.isroutine(plain):
        plain = type(plain).__call__
    try:
        return typing.get_type_hints(plain)
    except Exception as error:
        raise UsageError(
            f"An annotation of {spec.text} cannot be read: {error}.",
            hint="Import what it names, at run time too.",
        ) from error


def _wish(spec: CodeSpec, hint: Any, kind: Kind) -> Wish:
    numpy = sys.modules.get("numpy")
    plain = typing.get_origin(hint) or hint
    if plain is None or plain in (Object, Any, inspect.Parameter.empty):
        return "object"
    if plain is bytes:
        return "bytes"
    if plain is str:
        return "text"
    if numpy is not None and plain is numpy.ndarray:
        if kind in (Kind.VIDEO, Kind.SCREEN):
            return "picture"
        if kind is Kind.AUDIO:
            return "sound"
        raise UsageError(
            f"{spec.text} asks for a numpy array, and {kind} has neither pictures nor sound.",
            hint="Annotate its first parameter with Object, bytes or str.",
        )
    raise UsageError(
        f"{spec.text} asks for {getattr(plain, '__name__', plain)}, which is not known here.",
        hint="Annotate its first parameter with Object, bytes, str or numpy.ndarray.",
    )


def describe(error: BaseException) -> str:
    """An error of user code as one sentence and the user's own frames, newest last."""
    sentence = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, SyntaxError):
        return sentence[:MAX_MESSAGE]
    frames = [
        f"\n  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if _of_user(frame.filename)
    ]
    if len(sentence) > MAX_MESSAGE // 2:
        sentence = sentence[: MAX_MESSAGE // 2] + "..."
    return (sentence + "".join(frames[-MOST_FRAMES:]))[:MAX_MESSAGE]


def _of_user(filename: str) -> bool:
    if filename.startswith(_BUILTIN):
        return True
    return not filename.startswith((_OWN, importlib.__file__, "<frozen", "<string>"))
