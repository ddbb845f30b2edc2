"""A real window on a virtual display; each test in a process of its own, since Qt keeps state."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb"),
]

SHOW = """
import sys, threading, time
from wtp.media.picture import Picture
from wtp.media.sink import WindowSink
from wtp.media.testsrc import Pattern
pattern = Pattern(320, 240)
sink = WindowSink("film")
for i in range(30):
    assert sink.show(Picture(pattern.draw(i * 33_333), 320, 240))
"""
CLOSED_BY_CODE = (
    SHOW
    + """
sink.close()
sink.close()
assert not sink.show(Picture(pattern.draw(0), 320, 240))
print("done", True)
"""
)
CLOSED_BY_OTHERS = (
    SHOW
    + """
import cv2
cv2.destroyWindow("film")
assert not sink.show(Picture(pattern.draw(0), 320, 240))
print("done", True)
"""
)
# What a window manager sends when the cross of a window is clicked (ICCCM 4.2.8.1).
CLOSED_BY_USER = (
    SHOW
    + """
import ctypes
from ctypes import byref, c_char_p, c_long, c_uint, c_ulong, c_void_p

class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("serial", c_ulong), ("send_event", ctypes.c_int),
                ("display", c_void_p), ("window", c_ulong), ("kind", c_ulong),
                ("format", ctypes.c_int), ("data", c_long * 5), ("room", c_long * 24)]

x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype = c_void_p
x.XDefaultRootWindow.restype = x.XInternAtom.restype = c_ulong
display = c_void_p(x.XOpenDisplay(None))
root, parent, children, count = c_ulong(), c_ulong(), ctypes.POINTER(c_ulong)(), c_uint()
top = c_ulong(x.XDefaultRootWindow(display))
x.XQueryTree(display, top, byref(root), byref(parent), byref(children), byref(count))
for window in children[: count.value]:
    name = c_char_p()
    if x.XFetchName(display, c_ulong(window), byref(name)) and name.value == b"film":
        protocols, delete = (
            x.XInternAtom(display, text, 0) for text in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
        )
        message = Message(33, 0, 1, display, window, protocols, 32, (c_long * 5)(delete, 0))
        assert x.XSendEvent(display, c_ulong(window), 0, c_long(0), byref(message))
        break
else:
    raise AssertionError("no window")
x.XSync(display, 0)
shown = 0
while sink.show(Picture(pattern.draw(0), 320, 240)):
    shown += 1
    assert shown < 100
print("done", True)
"""
)
PRESSED_Q = (
    SHOW
    + """
import cv2
cv2.waitKey = lambda wait: ord("q")
assert not sink.show(Picture(pattern.draw(0), 320, 240))
print("done", True)
"""
)


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    assert number
    yield f":{number}"
    server.terminate()
    server.wait(60)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(CLOSED_BY_CODE, id="by-code"),
        pytest.param(PRESSED_Q, id="q"),
        pytest.param(CLOSED_BY_OTHERS, id="by-others"),
        pytest.param(CLOSED_BY_USER, id="by-its-cross"),
    ],
)
def test_a_window_shows_pictures_until_it_is_closed(script: str, display: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"DISPLAY": display},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done True\n"
    assert result.stderr == ""
