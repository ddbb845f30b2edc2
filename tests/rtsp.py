"""An RTSP server as network camera: GStreamer's, in a process of the system's Python.

Debian: gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-base, -good and -bad (parsers),
gstreamer1.0-tools (whose program `gst-launch-1.0` the mark `tool` looks for).
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

SYSTEM_PYTHON = "/usr/bin/python3"
RATE_HZ, TONE_HZ, FPS = 48_000, 1000, 15
START_S = 60.0

PIPELINE = (
    "( filesrc location={clip} ! qtdemux name=d "
    "d.video_0 ! queue ! h264parse ! rtph264pay name=pay0 pt=96 "
    "d.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
)


SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer as rtsp

clip, port, user, password, pipeline = sys.argv[1:]
Gst.init(None)
server = rtsp.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
factory = rtsp.RTSPMediaFactory()
factory.set_launch(pipeline.format(clip=clip))
if user:
    viewer = rtsp.RTSPToken()
    viewer.set_string("media.factory.role", "viewer")
    auth = rtsp.RTSPAuth()
    auth.set_supported_methods(2)  # GST_RTSP_AUTH_DIGEST of gstrtspdefs.h
    auth.add_digest(user, password, viewer)
    server.set_auth(auth)
    allowed = rtsp.RTSPPermissions()
    for right in ("access", "construct"):
        allowed.add_permission_for_role("viewer", f"media.factory.{right}", True)
    factory.set_permissions(allowed)
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
GLib.MainLoop().run()
"""
"""The server, for the system's Python, which has the packages above."""


class RtspCamera:
    """A camera that plays a clip (H.264 and AAC) to every client from its start.

    Args:
        clip: The mp4; see `write_clip`.
        port: TCP port on 127.0.0.1.
        user: With `password`: what clients have to log in with (digest).
    """

    def __init__(self, clip: Path, port: int, user: str = "", password: str = "") -> None:
        self._words = [str(clip), str(port), user, password, PIPELINE]
        self._port = port
        self._user, self._password = user, password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, with user name and password."""
        login = f"{self._user}:{self._password}@" if self._user else ""
        return f"rtsp://{login}127.0.0.1:{self._port}/camera"

    def start(self) -> None:
        """Switch it on; returns when it answers."""
        self._process = subprocess.Popen([SYSTEM_PYTHON, "-c", SERVER, *self._words])
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise AssertionError("GStreamer's RTSP server does not start; see the packages above")

    def freeze(self) -> None:
        """Let it fall silent, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        """Pull the plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def write_clip(path: Path, seconds: int, *, gop: int = FPS, bframes: int = 0) -> Path:
    """Write the test picture of 320x240 at 15/s, and a tone of 1 kHz, as H.264 and AAC.

    Pictures carry their time in the clip in µs as block code; a tone begins at every whole second
    and lasts 0.1 s.
    """
    import av
    import numpy as np

    from wtp.media.frames import frame_of
    from wtp.media.testsrc import Pattern

    pattern = Pattern(320, 240)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        video: Any = out.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        groups = {"g": str(gop), "bf": str(bframes), "b_strategy": "0"}
        video.options = {"preset": "ultrafast", "threads": "1", **groups}
        audio: Any = out.add_stream("aac", rate=RATE_HZ, layout="stereo")
        for number in range(seconds * FPS):
            frame = frame_of(pattern.draw(number * 1_000_000 // FPS))
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(video.encode(frame))
            at = np.arange(number * RATE_HZ // FPS, (number + 1) * RATE_HZ // FPS)
            loud = 12_000 * (at % RATE_HZ < RATE_HZ // 10)
            wave = (loud * np.sin(2 * np.pi * TONE_HZ * at / RATE_HZ)).astype(np.int16)
            block = av.AudioFrame.from_ndarray(wave.repeat(2)[None, :], "s16", "stereo")
            block.sample_rate, block.pts = RATE_HZ, int(at[0])
            block.time_base = Fraction(1, RATE_HZ)
            out.mux(audio.encode(block))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path
