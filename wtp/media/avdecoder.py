"""Decoding by FFmpeg's software decoders: strict about damage, and from a key picture on."""

from __future__ import annotations

from typing import Any

from wtp.errors import MediaError, MissingLibrary
from wtp.media.codecs import Codec, is_picture, is_start
from wtp.media.frames import av_errors, planes_of
from wtp.media.libraries import load_av
from wtp.media.picture import MAX_PIXELS, Planes, even_size


class AvDecoder:
    """A decoder of FFmpeg that starts only at a key picture, with one thread and no delay.

    Of VP8 it shows pictures that are cut off in their coefficients: nothing in them tells.

    Args:
        codec: What to decode.

    Attributes:
        waiting: Whether no key picture was seen yet.

    Raises:
        MissingLibrary: PyAV is not there, or was built without a decoder for it.
    """

    def __init__(self, codec: Codec) -> None:
        self._av = load_av()
        self._codec = codec
        self._name = self._choose()
        self._context = self._open()
        self.waiting = True

    def decode(self, payload: bytes, number: int) -> list[tuple[Planes, int]]:
        """Decode one object.

        Raises:
            MediaError: It is no object of that codec, or damaged.
        """
        if not is_picture(self._codec, payload):
            raise MediaError(
                f"A video object of {len(payload)} bytes is no picture of {self._codec.name}.",
                hint="Check that the track's content type is what its publisher sends.",
            )
        if self.waiting and not is_start(self._codec.content_type, payload):
            return []
        self.waiting = False
        unit = self._av.Packet(payload)
        unit.pts = number
        with av_errors("A video object is damaged", "It is left out up to the next key picture."):
            frames = self._context.decode(unit)
            return [(planes_of(f, *even_size(f.width, f.height)), f.pts) for f in frames]

    def reset(self) -> None:
        """Wait for the next key picture."""
        self.waiting = True
        self._context = self._open()

    def _choose(self) -> str:
        for name in self._codec.decoders:
            try:
                self._av.codec.Codec(name, "r")
            except (self._av.error.FFmpegError, ValueError):
                continue
            return name
        raise MissingLibrary(
            f"This PyAV was built without a decoder for {self._codec.name}.",
            hint="Install PyAV's wheel (pip install --force-reinstall av), or save the bytes with"
            " --raw or --save.",
        )

    def _open(self) -> Any:
        context = self._av.CodecContext.create(self._name, "r")
        context.thread_count = 1
        context.flags |= self._av.codec.context.Flags.low_delay
        context.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
        return context
