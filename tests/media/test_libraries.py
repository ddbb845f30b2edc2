"""Without OpenCV and PortAudio everything but cameras, windows and microphones works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from wtp.errors import MissingLibrary
from wtp.media import libraries as subject
from wtp.media.probe import libraries

WITHOUT = """
import sys
sys.modules["cv2"] = sys.modules["sounddevice"] = None
from wtp.media.libraries import libraries
from wtp.media.sink import PreviewSink
from wtp.media.source import open_source
from wtp.media.testsrc import read_code
from wtp.media.video import VideoDecoder, VideoEncoder
import itertools, time

source = open_source("testsrc", size=(320, 240), fps=200, now_us=lambda: time.time_ns() // 1000)
for codec in ("h264", "jpeg"):
    encoder = VideoEncoder(codec, 320, 240, 30)
    decoder = VideoDecoder(encoder.content_type)
    for picture in itertools.islice(source.pictures(), 10):
        (encoded,) = encoder.encode(picture)
        (shown,) = decoder.decode(encoded.payload)
        assert read_code(shown.planes) == picture.capture_us, codec
assert shown.bgr().shape == (240, 320, 3)
assert len(PreviewSink(20, 5).lines(shown)) == 5
film = open_source(sys.argv[1], size=(160, 90), now_us=lambda: 0, pace=False)
assert len(list(film.pictures())) == 250
assert [one.present for one in libraries()] == [True, False, False]
assert not [name for name in sys.modules if name.startswith(("cv2.", "sounddevice."))]
print("done")
"""

LAZY = """
import sys
import wtp.media.camera, wtp.media.file, wtp.media.probe, wtp.media.sink, wtp.media.video
import wtp.media.h264, wtp.media.jpeg, wtp.media.frames
print([name for name in ("av", "cv2", "sounddevice") if name in sys.modules])
"""


def run(script: str, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"DISPLAY": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_drawing_coding_and_files_need_neither_opencv_nor_portaudio() -> None:
    from .footage import clip

    assert run(WITHOUT, clip("bikes")) == "done\n"


def test_importing_the_modules_loads_no_library() -> None:
    assert run(LAZY) == "[]\n"


@pytest.mark.parametrize(
    ("name", "error", "remedy"),
    [
        ("cv2", ImportError("libGL.so.1: cannot open shared object file"), "libgl1"),
        ("cv2", ImportError("libgthread-2.0.so.0: cannot open shared"), "libglib2.0-0"),
        ("cv2", ModuleNotFoundError("No module named 'cv2'"), "pip install opencv-python"),
        ("sounddevice", OSError("PortAudio library not found"), "libportaudio2"),
        ("sounddevice", ModuleNotFoundError("No module named 'sounddevice'"), "libportaudio2"),
        ("av", ModuleNotFoundError("No module named 'av'"), "pip install av"),
    ],
)
def test_a_missing_library_names_the_package_and_what_still_works(
    name: str, error: Exception, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def absent(wanted: str) -> ModuleType:
        tries.append(wanted)
        raise error

    monkeypatch.setattr(subject, "_failures", {})
    monkeypatch.setattr("importlib.import_module", absent)
    load = {"cv2": subject.load_cv2, "av": subject.load_av, "sounddevice": subject.load_sounddevice}
    for _ in range(2):
        with pytest.raises(MissingLibrary) as caught:
            load[name]()
        assert remedy in caught.value.hint
        assert "without it" in caught.value.hint
        assert str(error) in caught.value.message
    assert tries == [name], "a failed import is not tried again"
    assert subject.has_cv2() is False


def test_the_list_says_what_is_here() -> None:
    found = {one.name: one for one in libraries()}
    assert found["PyAV"].present
    assert found["PyAV"].version
    assert found["OpenCV"].present
    for one in found.values():
        assert one.present == (one.problem == "") == (one.remedy == "")


def test_only_late_imports_of_the_three() -> None:
    folder = Path(subject.__file__).parent
    for path in folder.glob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.startswith(("import av", "import cv2", "from av", "import sound")), path
