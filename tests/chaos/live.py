"""Live pictures under the same faults: what is lost is counted, the newest comes first.

One publisher of test pictures plays through everything. After each fault the stream must go on at
a key frame, and what comes first must be fresh: nothing old is delivered late.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.theatre import Theatre, pause
from tests.e2e.stage import Message, Run, Stage, Values, balanced, wait_for

FAULTS = (
    "kill-router",
    "kill-broker",
    "stop-router",
    "stop-broker",
    "cut-link",
    "hole-link",
    "hole-air",
)
BACK_S = 30.0
CALM_S = 0.7
"""Pictures between two faults."""
STALL_S = 1.2
"""Long enough that the backlog of a live track is stale (0.5 s)."""
AGE_MS = 1000 * STALL_S + 800.0
"""How old a picture may be when the router hands it on: it lay in a socket while its reader stood
still, or waited half a second in a queue."""
UNRECEIPTED = 4
"""Objects with the broker's client at a fault, which may be stored although nobody knows."""


@dataclass(frozen=True, slots=True)
class Struck:
    """One fault and the seconds until the first picture captured after its end was stored."""

    fault: str
    recovery_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        struck: The faults.
        track: The publisher's summary of its track.
        router: The last router's figures.
        messages: What is in the topic.
    """

    struck: Sequence[Struck]
    track: Values
    router: Values
    messages: Sequence[Message]

    @property
    def lost(self) -> int:
        """Pictures that are not in the topic."""
        return int(self.track["offered"]) - len({one.seq for one in self.messages})

    @property
    def oldest_ms(self) -> float:
        """Age of the oldest picture when it was handed to the broker's client."""
        ages = (int(one.properties["publish_us"]) - one.capture_us for one in self.messages)
        return max(ages) / 1000

    def check(self) -> None:
        """Hold it against what is promised of live kinds.

        Raises:
            AssertionError: A promise was broken.
        """
        assert balanced(self.track), self.track
        assert self.track["in_flight"] == 0
        assert balanced(self.router), self.router
        assert self.router["in_flight"] == 0
        assert self.messages[0].properties["key"] == "1"
        for before, after in itertools.pairwise(self.messages):
            assert after.seq > before.seq, f"{before.seq} -> {after.seq}"
            fresh = after.seq == before.seq + 1 or after.properties["key"] == "1"
            assert fresh, f"{before.seq} -> {after.seq} is no key frame"
        assert self.oldest_ms < AGE_MS, self.oldest_ms
        if not any(one.fault == "kill-router" for one in self.struck):
            dropped = sum(self.track["dropped"].values()) + sum(self.router["dropped"].values())
            unsure = UNRECEIPTED * len(self.struck)
            assert dropped - unsure <= self.lost <= dropped, (self.lost, dropped)

    def report(self) -> list[str]:
        """It in lines."""
        out = [
            f"live: offered {self.track['offered']}, stored {len(self.messages)}, oldest at "
            f"hand-over {self.oldest_ms:.0f} ms",
            f"  dropped by the publisher {_some(self.track)}, by the last router "
            f"{_some(self.router)}",
        ]
        return out + [
            f"  {one.fault:12} new picture in the topic after {one.recovery_s:.2f} s"
            for one in self.struck
        ]


def _some(ledger: Values) -> dict[str, int]:
    return {reason: count for reason, count in ledger["dropped"].items() if count}


class LivePlay:
    """Faults on a theatre with one publisher of pictures.

    Args:
        stage: An empty stage.
        broker: `embedded` or `real`.
        seed: Of the order.
    """

    def __init__(self, stage: Stage, broker: str, seed: int) -> None:
        self._stage = stage
        self._dice = random.Random(seed)
        self._theatre = Theatre(stage, broker)

    def run(self, faults: Sequence[str] = FAULTS) -> Outcome:
        """Play the faults in an order of the seed."""
        order = self._dice.sample(list(faults), len(faults))
        run = self._stage.child(
            "publish", "--source", "testsrc", "--size", "160x120", "--name", "cam", "--gop", "15",
            env={"WTP_ROUTER": self._theatre.air_url},
        )  # fmt: skip
        run.event("ready")
        ends = []
        for fault in order:
            time.sleep(CALM_S)
            strike: Callable[[], None] = getattr(self, "_" + fault.replace("-", "_"))
            strike()
            ends.append(time.time_ns() // 1000)
            self._goes_on(run)
        # What counts as delivered may still be of before the end of the last fault.
        wait_for(
            lambda: _recovery_s(self._stage.read("video"), ends[-1]) < float("inf"),
            lambda: run.report()[-3000:],
            BACK_S,
        )
        track = run.finish()["tracks"]["video"]
        self._theatre.router.stop()
        router = self._theatre.router.event("summary")["objects"]
        messages = self._stage.read("video")
        struck = [
            Struck(fault, _recovery_s(messages, end))
            for fault, end in zip(order, ends, strict=True)
        ]
        return Outcome(struck, track, router, messages)

    def close(self) -> None:
        """End everything."""
        self._theatre.close()

    def _goes_on(self, run: Run) -> None:
        """Wait until the broker has pictures again."""

        def delivered() -> int:
            return int(self._theatre.router.last.get("objects", {}).get("delivered", 0))

        before = delivered()
        wait_for(lambda: delivered() > before + 5, lambda: run.report()[-3000:], BACK_S)

    def _kill_router(self) -> None:
        self._stage.kill_hard(self._theatre.router)
        self._theatre.start_router()

    def _kill_broker(self) -> None:
        self._theatre.broker.kill()
        self._theatre.broker.start()

    def _stop_router(self) -> None:
        pause(self._theatre.router.pid, STALL_S)

    def _stop_broker(self) -> None:
        self._theatre.broker.pause(STALL_S)

    def _cut_link(self) -> None:
        self._theatre.link.cut()

    def _hole_link(self) -> None:
        self._theatre.link.hole(True)
        time.sleep(STALL_S)
        self._theatre.link.hole(False)

    def _hole_air(self) -> None:
        self._theatre.air.hole(True)
        time.sleep(STALL_S)
        self._theatre.air.hole(False)


def _recovery_s(messages: Sequence[Message], end_us: int) -> float:
    """Seconds from the end of a fault to the hand-over of the first picture captured after it."""
    for message in messages:
        if message.capture_us > end_us:
            return (int(message.properties["publish_us"]) - end_us) / 1e6
    return float("inf")
