"""Pictures of user code as JPEG."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from wtp.errors import MediaError
from wtp.media.frames import av_errors
from wtp.media.jpeg import quantiser
from wtp.media.libraries import has_cv2, load_av, load_cv2


def encode_jpeg(picture: Any, quality: int) -> bytes:
    """Encode a picture, by OpenCV when it can be loaded, by PyAV otherwise.

    Args:
        picture: uint8, height x width x 3 (BGR) or height x width (grey), any size and layout.
        quality: 1 to 100.

    Raises:
        MediaError: It cannot be encoded.
        MissingLibrary: Neither library is there.
    """
    plain = np.ascontiguousarray(picture)
    if has_cv2():
        cv2 = load_cv2()
        try:
            done, data = cv2.imencode(".jpg", plain, [cv2.IMWRITE_JPEG_QUALITY, quality])
        except cv2.error as error:
            raise MediaError(f"OpenCV cannot encode it: {error}.") from error
        if done:
            return bytes(data.tobytes())
        raise MediaError("OpenCV cannot encode it.")
    return _by_av(plain, quality)


def _by_av(picture: Any, quality: int) -> bytes:
    av = load_av()
    with av_errors("FFmpeg cannot encode it", "Check the picture's size."):
        frame = av.VideoFrame.from_ndarray(picture, "gray" if picture.ndim == 2 else "bgr24")
        context: Any = av.CodecContext.create("mjpeg", "w")
        context.width, context.height = frame.width, frame.height
        context.pix_fmt, context.color_range = "yuvj420p", 2
        context.time_base = Fraction(1, 30)
        context.qmin = context.qmax = quantiser(quality)
        full = frame.reformat(format="yuvj420p", dst_color_range="JPEG", threads=1)
        full.pts = 0
        return b"".join(bytes(unit) for unit in [*context.encode(full), *context.encode(None)])
