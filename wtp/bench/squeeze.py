"""`wtp bench squeeze`: what becomes of live video when its line drops to 1 Mbit/s, and after.

Broker and router run on this side of a veth, the publisher in a network namespace on the other;
after some seconds `tc tbf` narrows the line, and later it is wide again. The delay of every object
is that from its capture to its arrival at the router, read from the topic: one clock, no error.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wtp.bench.machine import machine_line
from wtp.bench.wire import Wire, check_root
from wtp.broker.connect import connect
from wtp.children import Child
from wtp.clock import monotonic_us
from wtp.config.schema import BrokerSettings
from wtp.errors import WtpError

START_S = 30.0
LATE_MS = 150.0
"""The promise: the delay is back under this within five seconds."""
QUIET_S = 1.0
"""The delay counts as back once it stays under the limit for so long."""
RATE_S = 0.5
"""What received bit rates are taken over."""
BACK_UP = 0.9

Say = Callable[[str], None]


def configuration(
    rate_bps: int = 1_000_000,
    *,
    before_s: float = 5.0,
    narrow_s: float = 10.0,
    after_s: float = 8.0,
    codec: str = "h264",
    bitrate: str = "2.5M",
    source: Sequence[str] = ("--source", "testsrc"),
) -> dict[str, Any]:
    """What a run is made of; printed first.

    Args:
        rate_bps: Of the narrow line.
        before_s: Seconds before it is narrowed.
        narrow_s: Seconds that it is narrow.
        after_s: Seconds after it is wide again.
        codec: Of the video.
        bitrate: Its ceiling, as for `wtp publish --bitrate`.
        source: Input flags of the publisher.
    """
    return {
        "rate_bps": rate_bps,
        "before_s": before_s,
        "narrow_s": narrow_s,
        "after_s": after_s,
        "codec": codec,
        "bitrate": bitrate,
        "source": list(source),
        "machine": machine_line(),
    }


@dataclass(slots=True)
class Record:
    """What arrived, and what the publisher said of itself.

    Attributes:
        objects: Arrival in monotonic µs, delay in ms, payload bytes; of the video.
        sound_ms: Delays of sound objects.
        said: Monotonic µs and the publisher's video track, at every status.
    """

    objects: list[tuple[int, float, int]] = field(default_factory=list)
    sound: list[tuple[int, float, int]] = field(default_factory=list)
    said: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


async def run(config: dict[str, Any], say: Say = lambda _: None) -> dict[str, Any]:
    """Measure; takes the three times of the configuration and some seconds.

    Returns:
        `under_150_ms_s` and `back_up_s` (seconds, None when it never came), `worst_delay_ms`,
        `delay_before_p50_ms`, `delay_narrow_p95_ms`, `kbit_s` before, while narrow and after,
        `least_target_kbit_s`, `most_every_nth`, `sound_delay_narrow_p95_ms` when there is sound,
        `dropped` by the publisher, and the configuration.

    Raises:
        Refused: It takes root.
        WtpError: A process failed, or nothing arrived.
    """
    check_root()
    record = Record()
    async with Wire() as wire, _Path(wire, config, record) as path:
        say("the line is wide")
        await asyncio.sleep(config["before_s"])
        say(f"the line carries {config['rate_bps'] / 1e6:g} Mbit/s")
        narrowed_us = monotonic_us()
        await wire.narrow(config["rate_bps"])
        await asyncio.sleep(config["narrow_s"])
        say("the line is wide again")
        widened_us = monotonic_us()
        await wire.widen()
        await asyncio.sleep(config["after_s"])
        summary = await path.finish()
    return {**figures(record, narrowed_us, widened_us), **summary, "configuration": config}


def figures(record: Record, narrowed_us: int, widened_us: int) -> dict[str, Any]:
    """Figures of a run; see `run`.

    Raises:
        WtpError: Nothing arrived before the line was narrowed.
    """
    before = [one for one in record.objects if one[0] < narrowed_us]
    narrow = [one for one in record.objects if narrowed_us <= one[0] < widened_us]
    after = [one for one in record.objects if one[0] >= widened_us]
    if not before:
        raise WtpError("Nothing arrived through the wide line.", hint="See the publisher's log.")
    usual = _rate(before, narrowed_us - 3_000_000, narrowed_us)
    settled = _settled_s(narrow, narrowed_us, widened_us)
    sound = [one[1] for one in record.sound if narrowed_us <= one[0] < widened_us]
    targets = [track["target_bitrate_bps"] for _, track in record.said]
    return {
        "under_150_ms_s": settled,
        "back_up_s": _back_up_s(after, widened_us, BACK_UP * usual),
        "worst_delay_ms": max((one[1] for one in narrow), default=None),
        "late_after_share": _late_share(narrow, narrowed_us, settled),
        "delay_before_p50_ms": _part([one[1] for one in before], 0.5),
        "delay_narrow_p95_ms": _part([one[1] for one in narrow], 0.95),
        "sound_delay_narrow_p95_ms": _part(sound, 0.95),
        "kbit_s": {
            "before": usual / 1000,
            "narrow": _rate(narrow, widened_us - 5_000_000, widened_us) / 1000,
            "after": _rate(after, after[-1][0] - 3_000_000, after[-1][0]) / 1000 if after else 0.0,
        },
        "least_target_kbit_s": min(targets, default=0) / 1000,
        "most_every_nth": max((track["every_nth"] for _, track in record.said), default=1),
    }


def _settled_s(
    objects: Sequence[tuple[int, float, int]], narrowed_us: int, end_us: int
) -> float | None:
    """Seconds until no object is late for a second."""
    since_us = narrowed_us
    for at_us, delay_ms, _ in objects:
        if at_us - since_us > QUIET_S * 1e6:
            break
        if delay_ms > LATE_MS:
            since_us = at_us
    return (since_us - narrowed_us) / 1e6 if end_us - since_us > QUIET_S * 1e6 else None


def _late_share(
    objects: Sequence[tuple[int, float, int]], narrowed_us: int, settled_s: float | None
) -> float | None:
    """Part of the objects behind that time that were late all the same."""
    if settled_s is None:
        return None
    rest = [one[1] for one in objects if one[0] > narrowed_us + settled_s * 1e6]
    return sum(delay > LATE_MS for delay in rest) / len(rest) if rest else None


def _back_up_s(
    objects: Sequence[tuple[int, float, int]], widened_us: int, wanted_bps: float
) -> float | None:
    """Seconds until the received bit rate over half a second is what it was."""
    for at_us, _, _ in objects:
        if at_us - widened_us < RATE_S * 1e6:
            continue
        if _rate(objects, at_us - round(RATE_S * 1e6), at_us) >= wanted_bps:
            return (at_us - widened_us) / 1e6
    return None


def _rate(objects: Sequence[tuple[int, float, int]], begin_us: int, end_us: int) -> float:
    """Payload bits a second."""
    bits = 8 * sum(size for at_us, _, size in objects if begin_us < at_us <= end_us)
    return bits * 1e6 / max(end_us - begin_us, 1)


def _part(values: Sequence[float], part: float) -> float | None:
    return sorted(values)[int(part * (len(values) - 1))] if values else None


class _Path:
    """Broker and router on this side, the publisher on the other, and a reader of the topics."""

    def __init__(self, wire: Wire, config: Mapping[str, Any], record: Record) -> None:
        self._wire, self._config, self._record = wire, config, record
        self._folder = Path(tempfile.mkdtemp(prefix="wtp-squeeze-"))
        self._children: list[Child] = []
        self._reading: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Path:
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _start(self) -> None:
        data = ["--data", str(self._folder / "broker")]
        info = await self._child(
            "broker", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", *data
        )
        broker = BrokerSettings(url=info["url"], admin=info["admin"])
        router = await self._child(
            "router", "--listen", f"{self._wire.near}:0", "--insecure-no-auth",
            "--certs", str(self._folder / "certs"), "--broker", broker.url, "--admin", broker.admin,
        )  # fmt: skip
        publisher = await self._child(
            "publish", *self._config["source"], "--name", "far", "--router", router["url"],
            "--cert-hash", router["cert_hash"], "--codec", self._config["codec"],
            "--bitrate", self._config["bitrate"], prefix=self._wire.prefix, said=self._said,
        )  # fmt: skip
        anchor = asyncio.Event()
        for track in publisher["tracks"].values():
            if track["kind"] in ("video", "audio"):
                reading = self._read(broker, track["kind"], anchor)
                self._reading.append(asyncio.create_task(reading))
        async with asyncio.timeout(START_S):
            await anchor.wait()

    async def _child(
        self,
        *words: str,
        prefix: Sequence[str] = (),
        said: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        program = (*prefix, sys.executable, "-m", "wtp")
        env = {"WTP_HOME": str(self._folder)}
        child = Child(words, env=env, program=program, on_event=said)
        self._children.append(child)
        await child.start()
        try:
            async with asyncio.timeout(START_S):
                return await asyncio.shield(child.ready)
        except TimeoutError:
            raise WtpError(
                f"wtp {words[0]} was not ready after {START_S:.0f} s.", hint=child.stderr_tail
            ) from None

    def _said(self, event: dict[str, Any]) -> None:
        if event.get("event") == "status":
            for track in event.get("tracks", {}).values():
                if "target_bitrate_bps" in track:
                    self._record.said.append((monotonic_us(), track))

    async def _read(self, broker: BrokerSettings, kind: str, begun: asyncio.Event) -> None:
        client = connect(broker)
        into = self._record.objects if kind == "video" else self._record.sound
        try:
            reader = await client.reader(f"persistent://public/default/{kind}", start="earliest")
            while True:
                message = await reader.receive()
                properties = message.properties
                anchor_us = int(properties["clock"].rpartition(":")[2])
                route_us = int(properties["route_us"])
                delay_ms = (route_us - int(properties["capture_us"])) / 1000
                into.append((route_us - anchor_us, delay_ms, len(message.payload)))
                begun.set()
        finally:
            await client.close()

    async def finish(self) -> dict[str, Any]:
        """End the publisher; what it dropped, by reason."""
        summary = await self._children[-1].stop() or {}
        tracks = summary.get("tracks", {})
        return {"dropped": {name: track["dropped"] for name, track in tracks.items()}}

    async def _end(self) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        for child in reversed(self._children):
            with contextlib.suppress(WtpError):
                await child.stop()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
