"""A seeded campaign: rounds of faults, each with objects in flight, and what came of it.

A round has a room of its own. Its writers say numbered lines while the router, the broker and a
writer are killed (kill -9) in any order, with one fault of another sort among them. Each fault
lands while at least `IN_FLIGHT` lines have no receipt. At the end the topic is read back.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.theatre import Embedded, Theatre, Writer, pause
from tests.chaos.verify import Account, Findings, judge, read
from tests.e2e.stage import Stage, wait_for

IN_FLIGHT = 100
"""Lines without receipt that a fault must find."""
SEEN_IN_FLIGHT = 600
"""Lines without receipt that the newest status must tell of: it is some 20 ms old."""
SETTLE_S = 0.06
"""After it the newest status speaks of the time after a kill."""
ACKED = 1000
"""Lines that a round must have acknowledged."""
FIRST, BURST, LAST = 200, 1100, 1000
"""Lines before the first fault, around each fault, and behind the last one. The last ones alone
make `ACKED`, however little a killed writer had acknowledged."""
BACK_S = 60.0
"""How long it may take to go on after a fault; the JVM of a real Pulsar included."""

KILLS = ("kill-router", "kill-broker", "kill-publisher")
OTHERS = (
    "stop-router", "stop-broker", "stop-publisher",
    "cut-link", "hole-link", "hole-air", "full-disk",
)  # fmt: skip


@dataclass(slots=True)
class Struck:
    """One fault: what it found and how long it took until receipts came again."""

    fault: str
    in_flight: int
    recovery_s: float


@dataclass(slots=True)
class Round:
    """What a round did and found."""

    number: int
    struck: list[Struck] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    def line(self) -> str:
        """It in one line."""
        found = self.findings
        faults = " ".join(f"{one.fault}({one.in_flight})" for one in self.struck)
        return (
            f"round {self.number}: acked {found.acked} lost {found.lost} doubled {found.doubled} "
            f"out-of-order {found.disordered} gaps {found.gaps}; in flight at {faults}"
        )


class Campaign:
    """Rounds on one theatre.

    Args:
        stage: An empty stage.
        broker: `embedded` or `real`.
        seed: Of the schedule.
        lie: Use the broken router.
        say: Takes a line after each round.
    """

    def __init__(
        self,
        stage: Stage,
        broker: str,
        seed: int,
        *,
        lie: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._stage = stage
        self._broker = broker
        self._seed = seed
        self._dice = random.Random(seed)
        self._say = say
        self._theatre = Theatre(stage, broker, lie=lie)
        self._writers: list[Writer] = []
        self._room = ""
        self._url = ""
        self._landed = 0
        self._before = 0
        self._lie = lie
        self.rounds: list[Round] = []
        self.skipped = "" if self._theatre.broker.disk else "full-disk: needs an own file system"

    def run(self, rounds: int) -> None:
        """Play so many rounds.

        Raises:
            AssertionError: It did not come to what a round needs; lost objects raise nothing.
        """
        for number in range(1, rounds + 1):
            self.rounds.append(self._round(number))
            self._say(self.rounds[-1].line())

    def close(self) -> None:
        """End everything."""
        self._theatre.close()

    @property
    def total(self) -> Findings:
        """The findings of all rounds."""
        total = Findings()
        for one in self.rounds:
            total.add(one.findings)
        return total

    def report(self) -> list[str]:
        """The campaign in lines, with the command that repeats it."""
        total, struck = self.total, [one for each in self.rounds for one in each.struck]
        counts = Counter(one.fault for one in struck)
        kinds: dict[str, list[float]] = defaultdict(list)
        for one in struck:
            kinds[one.fault].append(one.recovery_s)
        least = min((each.findings.acked for each in self.rounds), default=0)
        out = [
            f"seed {self._seed}, {len(self.rounds)} rounds, broker {self._broker}",
            "faults: " + ", ".join(f"{name} {counts[name]}" for name in sorted(counts)),
            f"in flight at each fault: at least {min((o.in_flight for o in struck), default=0)}; "
            f"acknowledged in each round: at least {least}",
            f"acked {total.acked}, stored {total.stored}, lost {total.lost}, doubled "
            f"{total.doubled}, out of order {total.disordered}, gaps {total.gaps}",
            "recovery to the first receipt in s, p50 / p99 / max (kills: from ready on):",
        ]
        for name in sorted(kinds):
            values = sorted(kinds[name])
            p99 = values[min(len(values) - 1, round(0.99 * (len(values) - 1)))]
            row = f"{statistics.median(values):.2f} / {p99:.2f} / {values[-1]:.2f}"
            out.append(f"  {name:15} {row}  n {len(values)}")
        if self.skipped:
            out.append(f"left out: {self.skipped}")
        out.append(
            f"again: python -m tests.chaos --rounds {len(self.rounds)} --seed {self._seed} "
            f"--broker {self._broker}{' --broken' * self._lie}"
        )
        return out

    def _round(self, number: int) -> Round:
        faults = [*KILLS, self._other()]
        self._dice.shuffle(faults)
        self._room = f"chaos-{self._seed}-{number}"
        self._url = self._theatre.air_url if "hole-air" in faults else self._stage.router_url
        self._writers = []
        self._new_writer()
        out = Round(number)
        self._writer.say(FIRST)
        self._until(lambda: self._writer.acked > 0, "a first receipt")
        for fault in faults:
            out.struck.append(self._strike(fault))
        self._writer.say(LAST)
        self._writer.end()
        self._writer.run.ended(BACK_S)
        out.findings = self._judge()
        if not self._lie:
            assert out.findings.acked >= ACKED, out.line()
        return out

    def _other(self) -> str:
        some = [name for name in OTHERS if name != "full-disk" or not self.skipped]
        return self._dice.choice(some)

    @property
    def _writer(self) -> Writer:
        return self._writers[-1]

    def _new_writer(self) -> None:
        writer = Writer(self._stage, len(self._writers) + 1, self._room, self._url)
        self._writers.append(writer)

    def _strike(self, fault: str) -> Struck:
        """Let a fault land in a burst, again where it came too late; returns with receipts."""
        for _ in range(3):
            struck = self._strike_once(fault)
            if struck.in_flight >= IN_FLIGHT:
                break
        return struck

    def _strike_once(self, fault: str) -> Struck:
        writer = self._writer
        for _ in range(20):
            writer.say(BURST)
            if self._in_flight(writer):
                break
        else:
            raise AssertionError(f"Never {SEEN_IN_FLIGHT} lines in flight.\n{writer.run.report()}")
        self._landed = writer.pending
        began = getattr(self, "_" + fault.replace("-", "_"))()
        self._more()
        return Struck(fault, self._landed, self._recovered(began))

    def _look(self) -> None:
        """Note what is in flight while nothing can be receipted: exact, the burst may be over."""
        time.sleep(SETTLE_S)
        self._landed = self._writer.pending

    def _in_flight(self, writer: Writer) -> bool:
        """Whether enough lines are without receipt before the burst is over."""
        end = time.monotonic() + 5.0
        while time.monotonic() < end:
            pending = writer.pending
            if pending >= SEEN_IN_FLIGHT:
                return True
            if not pending and writer.acked == writer.written:
                return False
            time.sleep(0.002)
        return False

    def _more(self) -> None:
        """Something to receipt after the fault, whatever it found."""
        self._before = self._writer.acked
        self._writer.say(20)

    def _recovered(self, began: float) -> float:
        """Seconds from a moment to the first receipt after it."""
        writer = self._writer
        self._until(lambda: writer.acked > self._before, "receipts after the fault")
        return max(0.0, time.monotonic() - began)

    def _until(self, condition: Callable[[], object], what: str) -> None:
        wait_for(condition, lambda: f"{what}\n{self._reports()}", BACK_S)

    def _reports(self) -> str:
        runs = (self._writer.run, self._theatre.router)
        return "\n".join(run.report()[-3000:] for run in runs)

    def _judge(self) -> Findings:
        accounts = [
            Account(one.number, one.acked, None if one.killed else one.written)
            for one in self._writers
        ]
        expect = sum(one.whole or 0 for one in accounts)
        topic = f"persistent://public/{self._room}/data"
        found = read(self._stage.broker_url, topic, 0 if self._lie else expect)
        return judge(found, accounts)

    # The faults; each returns the moment from which on recovery counts.

    def _kill_router(self) -> float:
        self._stage.kill_hard(self._theatre.router)
        self._look()
        self._theatre.start_router()
        return time.monotonic()

    def _kill_broker(self) -> float:
        self._theatre.broker.kill()
        self._look()
        self._theatre.broker.start()
        return time.monotonic()

    def _kill_publisher(self) -> float:
        writer = self._writer
        self._stage.kill_hard(writer.run)
        writer.killed = True
        writer.end()
        self._new_writer()
        return time.monotonic()

    def _seconds(self) -> float:
        return self._dice.choice((0.2, 0.7, 1.5, 3.0))

    def _stop_router(self) -> float:
        pause(self._theatre.router.pid, self._seconds())
        return time.monotonic()

    def _stop_broker(self) -> float:
        self._theatre.broker.pause(self._seconds())
        return time.monotonic()

    def _stop_publisher(self) -> float:
        pause(self._writer.run.pid, self._seconds())
        return time.monotonic()

    def _cut_link(self) -> float:
        began = time.monotonic()
        self._theatre.link.cut()
        return began

    def _hole_link(self) -> float:
        self._theatre.link.hole(True)
        time.sleep(self._seconds())
        self._theatre.link.hole(False)
        return time.monotonic()

    def _hole_air(self) -> float:
        self._theatre.air.hole(True)
        time.sleep(self._seconds())
        self._theatre.air.hole(False)
        return time.monotonic()

    def _full_disk(self) -> float:
        broker = self._theatre.broker
        assert isinstance(broker, Embedded)
        broker.fill(self._seconds())
        return time.monotonic()
