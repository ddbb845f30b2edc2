"""First versions of user code: a commented file per kind and a test beside it."""

from __future__ import annotations

from pathlib import Path

from wtp.errors import StorageError, UsageError
from wtp.model import Kind

_PICTURE = '''"""A processor of {kind}: what happens to each picture. Run it:

    wtp processor {kind} --code {file}
"""

import numpy as np

from wtp.processor import Info


def process(picture: np.ndarray, info: Info):
    """Called with every picture of a track, in order: height x width x 3 bytes, blue green red.

    info.track, info.seq, info.capture_us, info.object tell where it comes from.

    Return one of
        None           nothing is published
        an array       a picture, published as JPEG in place of this one
        a dict         a JSON event of kind data, on the track <name>-{name}
        an Object      from wtp.processor, anything at all
        a list of these, or write a generator
    An exception costs this one object. Remember things per track in a class:
    `class process: def __init__(self): ... def __call__(self, picture, info): ...`
    """
    brightness = float(picture.mean())
    if brightness < 16:
        return {{"event": "dark", "brightness": round(brightness, 1)}}
    return np.ascontiguousarray(picture[:, ::-1])  # mirrored
'''

_SOUND = '''"""A processor of audio: what happens to each piece of sound. Run it:

    wtp processor audio --code {file}
"""

import numpy as np

from wtp.processor import Info


def process(sound: np.ndarray, info: Info):
    """Called with every audio object of a track, in order: samples x channels, int16 or float32.

    info.rate_hz, info.channels, info.track, info.seq, info.capture_us tell what it is.

    Return None (nothing), an array (sound, published as PCM), a dict (a JSON event of kind data, on
    the track <name>-{name}), an Object from wtp.processor, or a list or generator of these.
    An exception costs this one object.
    """
    peak = float(np.abs(sound.astype(np.float32)).max(initial=0))
    full = 32768.0 if sound.dtype == np.int16 else 1.0
    if peak > 0.99 * full:
        return {{"event": "clipped", "at_us": info.capture_us}}
    return None
'''

_TEXT = '''"""A processor of chat: what happens to each line. Run it:

    wtp processor chat --code {file}
"""

from wtp.processor import Info


def process(text: str, info: Info):
    """Called with every line of a track, in order.

    info.object.attributes holds what came along (an author, say); info.track, info.seq and
    info.capture_us tell where it comes from.

    Return None (the line is left out), a str (published in its place), a dict (a JSON event of kind
    data) or an Object from wtp.processor. Chat is a reliable kind: one line makes one object at
    most. An exception costs this one line.
    """
    return text.strip() or None
'''

_BYTES = '''"""A processor of {kind}: what happens to each object. Run it:

    wtp processor {kind} --code {file}
"""

from dataclasses import replace

from wtp.processor import Object


def process(obj: Object):
    """Called with every object of a track, in order.

    obj.payload are its bytes, obj.content_type says what they are, obj.attributes holds what came
    along; obj.seq, obj.capture_us and the other stamps tell where it comes from.

    Return None (it is left out), bytes (published in its place), a dict (a JSON object of kind
    data) or an Object. This is a reliable kind: one object makes one object at most.
    An exception costs this one object.
    """
    return replace(obj, attributes={{**obj.attributes, "seen": "yes"}})
'''

_TEST = '''"""Tests of {file}; run them with pytest.

`wtp processor test {file} RECORDING` puts whole recordings through it.
"""

{imports}from {module} import process
from wtp.processor import Info, Object

KIND = "{kind}"


def info(**more):
    obj = Object(kind=KIND, seq=1, group=1, key=True, payload=b"", capture_us=1_000_000, **more)
    return Info("room/publisher/{kind}", obj)


{test}
'''

_TESTS = {
    "picture": (
        _PICTURE,
        "import numpy as np\n\n",
        'def test_a_dark_picture_is_told():\n'
        '    dark = np.zeros((48, 64, 3), np.uint8)\n'
        '    assert process(dark, info())["event"] == "dark"\n'
        "\n\n"
        'def test_a_picture_is_mirrored():\n'
        '    picture = np.full((48, 64, 3), 100, np.uint8)\n'
        '    picture[:, 0] = 200\n'
        '    assert (process(picture, info())[:, -1] == 200).all()',
    ),
    "sound": (
        _SOUND,
        "import numpy as np\n\n",
        'def test_clipping_is_told():\n'
        '    loud = np.full((480, 1), 32767, np.int16)\n'
        '    assert process(loud, info())["event"] == "clipped"\n'
        '    assert process(loud // 2, info()) is None',
    ),
    "text": (
        _TEXT,
        "",
        'def test_an_empty_line_is_left_out():\n'
        '    assert process("  ", info()) is None\n'
        '    assert process(" hello ", info()) == "hello"',
    ),
    "bytes": (
        _BYTES,
        "",
        'def test_an_object_is_marked():\n'
        '    assert process(info().object).attributes == {"seen": "yes"}',
    ),
}  # fmt: skip


def write(file: Path, kind: Kind) -> list[Path]:
    """Write a first version of a processor and of its test; existing files stay as they are.

    Args:
        file: Where to, `NAME.py`.
        kind: What it will be given.

    Returns:
        The two files.

    Raises:
        UsageError: One of them exists, or the name is no Python file's.
        StorageError: They cannot be written.
    """
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise UsageError(
            f"{file.name!r} cannot be imported by Python.",
            hint="Choose a name of letters, digits and _ with the ending .py.",
        )
    test = file.with_name(f"test_{file.name}")
    for path in (file, test):
        if path.exists():
            raise UsageError(f"{path} exists already.", hint="Choose another name.")
    code, imports, tests = _TESTS[_sort(kind)]
    names = {"kind": kind.value, "file": file.name, "name": file.stem, "module": file.stem}
    texts = {
        file: code.format(**names),
        test: _TEST.format(**names, imports=imports, test=tests),
    }
    try:
        for path, text in texts.items():
            with path.open("x", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        raise StorageError(
            f"{file} cannot be written: {error.strerror}.", hint="Choose another folder."
        ) from error
    return list(texts)


def _sort(kind: Kind) -> str:
    if kind in (Kind.VIDEO, Kind.SCREEN):
        return "picture"
    return {Kind.AUDIO: "sound", Kind.CHAT: "text"}.get(kind, "bytes")
