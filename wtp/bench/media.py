"""`wtp bench media`: each picture codec alone, and what publishing and watching cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from wtp.bench import soak
from wtp.bench.codecs import measure_codecs

CODECS = ("h264", "vp8", "vp9", "av1", "jpeg")

Say = Callable[[str], None]


async def run(config: dict[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """Measure.

    Args:
        config: `duration_s`, `warmup_s`, `size`, `pictures`, `fsync`.
        say: Told in a sentence what is going on.

    Returns:
        `codecs`: a row each (see `codecs.CodecRow`); and the figures of `soak.run`.

    Raises:
        UsageError: The size makes no sense.
        WtpError: A process failed, or nothing was seen or heard.
    """
    say("encoding and decoding with every codec")
    width, _, height = config["size"].partition("x")
    size = int(width), int(height)
    rows = await asyncio.to_thread(measure_codecs, CODECS, size, pictures=config["pictures"])
    return {"codecs": [asdict(row) for row in rows], **await soak.run(config, say)}
