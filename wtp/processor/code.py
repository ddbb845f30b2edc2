"""Which code to run, as a user names it; nothing is imported here.

A piece of code is a callable, sync or async, a generator or an async generator:

    def process(picture: numpy.ndarray, info: Info) -> ...

    first parameter   what it is given, by annotation: `Object` (or none), `bytes`, `str` (text),
                      `numpy.ndarray`: the decoded picture of video and screen (height x width x 3
                      bytes, BGR) or the sound of audio (samples x channels, int16 or float32)
    second parameter  optional: `Info`
    returns           None: nothing; `bytes`, `str`: the new payload, kind and type as they were;
                      `numpy.ndarray`: a picture, encoded as JPEG, or sound, encoded as PCM; `dict`:
                      JSON, a `data` object; `Object`: just that; or a list or iterator of these

Several objects made of one carry their place among them in the attribute `part`, counted from 0.
Over HTTP an object of a reliable kind (chat, file, data) makes one at most.

A class is called without arguments once per track, and its instances are then the callables: that
is how code remembers something of each track.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wtp.errors import UsageError, WtpError
from wtp.model import Kind, clean_name

DEFAULT_FUNCTION = "process"
"""What a file or module without `:function` means."""

BUILTINS = {
    "passthrough": "Everything as it came.",
    "motion": "Pictures to `data` events where something moves.",
    "thumbnail": "Pictures to small JPEGs.",
    "loudness": "Sound to its level in dBFS, and whether it is above a gate.",
    "chat-filter": "Chat lines with the words of a list masked.",
}
"""Name to what it does; each is a file of `wtp/processor/builtin`."""

_USUAL_KINDS = {"loudness": Kind.AUDIO, "chat-filter": Kind.CHAT}
_PICTURES = (Kind.VIDEO, Kind.SCREEN)
_KINDS: dict[str, tuple[Kind, ...]] = {"motion": _PICTURES, "thumbnail": _PICTURES}
_KINDS |= {"loudness": (Kind.AUDIO,), "chat-filter": (Kind.CHAT,)}

CODE_HINT = "Write module:function, file.py:function or one of " + ", ".join(BUILTINS) + "."


class CodeFailed(WtpError):
    """User code did not cope with one object; `code` is the reason it is counted under.

    Reasons: `exception`, `timeout` (it took too long and was ended), `crash` (its process ended),
    `wrong-type` (it returned what cannot be an object), `damaged` (the object cannot be decoded).
    """

    code = "exception"


class CodeMissing(WtpError):
    """User code is not there at this moment: its process cannot be started. Try again later."""

    code = "code-missing"


@dataclass(frozen=True, slots=True)
class CodeSpec:
    """A named piece of code.

    Attributes:
        text: As the user wrote it.
        target: Module name, or a file's absolute path.
        function: Name of the callable in it; dots lead into classes.
        is_file: Whether `target` is a file.
        builtin: Whether it is one of `BUILTINS`.
        name: Short legal name for tracks, subscriptions and producers.
    """

    text: str
    target: str
    function: str
    is_file: bool
    builtin: bool
    name: str

    @property
    def usual_kind(self) -> Kind:
        """What it is for when nobody says: a built-in's own kind, else video."""
        return _USUAL_KINDS.get(self.name, Kind.VIDEO) if self.builtin else Kind.VIDEO

    def check_kind(self, kind: Kind) -> None:
        """See that a built-in can do something with a kind.

        Raises:
            UsageError: It is made for another one.
        """
        kinds = _KINDS.get(self.name) if self.builtin else None
        if kinds and kind not in kinds:
            raise UsageError(
                f"{self.name} is for {' and '.join(kinds)}, not for {kind}.",
                hint="Choose another --code.",
            )

    @classmethod
    def parse(cls, text: str) -> CodeSpec:
        """Read `module:function`, `file.py:function` or a built-in name.

        Raises:
            UsageError: It is none of these, or the file does not exist.
        """
        if text in BUILTINS:
            module = f"wtp.processor.builtin.{text.replace('-', '_')}"
            return cls(text, module, DEFAULT_FUNCTION, False, True, text)
        target, colon, function = text.rpartition(":")
        if not colon:
            target, function = text, DEFAULT_FUNCTION
        if not all(part.isidentifier() for part in function.split(".")):
            raise UsageError(f"{text!r} names no function.", hint=CODE_HINT)
        if target.endswith(".py"):
            path = Path(target).expanduser()
            if not path.is_file():
                raise UsageError(
                    f"There is no file {target}.",
                    hint="Check the path, or write a first version with wtp processor new.",
                )
            return cls(text, str(path.resolve()), function, True, False, _name(path.stem, function))
        if not colon or not all(part.isidentifier() for part in target.split(".")):
            raise UsageError(f"{text!r} is no code.", hint=CODE_HINT)
        stem = target.rpartition(".")[2]
        return cls(text, target, function, False, False, _name(stem, function))


def _name(stem: str, function: str) -> str:
    return clean_name(stem if function == DEFAULT_FUNCTION else function.replace("_", "-"))
