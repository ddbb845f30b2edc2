"""What user code is given: bytes decoded to pictures and sound, with a decoder per track."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from wtp.errors import MediaError
from wtp.model import Object, inter_coded
from wtp.processor.code import CodeFailed
from wtp.processor.info import Info
from wtp.processor.load import Wish
from wtp.wire.process import Parcel

if TYPE_CHECKING:
    from wtp.media.video import VideoDecoder
    from wtp.processor.sound import SoundDecoder

MOST_TRACKS = 64
"""Tracks whose decoders are kept; more make the longest silent one give way."""


class NoKey(Exception):
    """A picture that cannot be decoded before the next key picture has come."""


class _Pictures:
    """Decoder of one video track, that never shows a picture built on a lost one."""

    def __init__(self, content_type: str) -> None:
        from wtp.media.video import VideoDecoder

        self.content_type = content_type
        self._decoder: VideoDecoder = VideoDecoder(content_type)
        self._alone = not inter_coded(content_type)
        self._due: tuple[str, int] | None = None

    def decode(self, obj: Object, instance: str) -> Any:
        if not (self._alone or obj.key) and self._due != (instance, obj.seq):
            if self._due is None or self._due[0] != instance or obj.seq > self._due[1]:
                self._due = None
            raise NoKey
        if obj.key and self._due != (instance, obj.seq):
            self._decoder.reset()
        self._due = None
        pictures = self._decoder.decode(obj.payload, capture_us=obj.capture_us)
        if not pictures:
            raise NoKey
        self._due = (instance, obj.seq + 1)
        return pictures[-1].bgr()


class Arguments:
    """Makes the arguments of user code.

    Args:
        wish: What its first parameter asks for.
    """

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._pictures: OrderedDict[str, _Pictures] = OrderedDict()
        self._sounds: OrderedDict[str, SoundDecoder] = OrderedDict()

    def make(self, parcel: Parcel, obj: Object) -> tuple[Any, Info]:
        """The first argument, and what may be the second.

        Raises:
            NoKey: It has to wait for a key picture.
            CodeFailed: `damaged`: the payload is not what its content type says.
        """
        if self._wish == "bytes":
            return obj.payload, Info(parcel.track, obj)
        if self._wish == "object":
            return obj, Info(parcel.track, obj)
        try:
            if self._wish == "text":
                return obj.payload.decode("utf-8"), Info(parcel.track, obj)
            if self._wish == "sound":
                return self._sound(parcel, obj)
            return self._picture(parcel, obj), Info(parcel.track, obj)
        except MediaError as error:
            raise CodeFailed(error.message, hint=error.hint, code="damaged") from error
        except UnicodeDecodeError as error:
            raise CodeFailed(
                f"Object {obj.seq} of {parcel.track} is no UTF-8 text.",
                hint="Annotate the first parameter with bytes to get it as it is.",
                code="damaged",
            ) from error

    def _picture(self, parcel: Parcel, obj: Object) -> Any:
        pictures = self._pictures.get(parcel.track)
        if pictures is None or pictures.content_type != obj.content_type:
            pictures = self._pictures[parcel.track] = _Pictures(obj.content_type)
        _keep(self._pictures, parcel.track)
        return pictures.decode(obj, parcel.properties.get("instance", ""))

    def _sound(self, parcel: Parcel, obj: Object) -> tuple[Any, Info]:
        from wtp.processor.sound import SoundDecoder

        sound = self._sounds.get(parcel.track)
        if sound is None or sound.content_type != obj.content_type:
            sound = self._sounds[parcel.track] = SoundDecoder(obj.content_type)
        _keep(self._sounds, parcel.track)
        samples = sound.decode(obj.payload)
        return samples, Info(parcel.track, obj, sound.rate_hz, samples.shape[1])


def _keep(table: OrderedDict[str, Any], track: str) -> None:
    table.move_to_end(track)
    if len(table) > MOST_TRACKS:
        table.popitem(last=False)
