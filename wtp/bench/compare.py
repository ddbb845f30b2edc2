"""`wtp bench compare`: the same objects by WebTransport and its rivals, on the same link.

Every protocol sends from one process to another with a Python stack that is well kept, in rounds
that take turns (a, b, a, b, ...), so that a disturbance of the machine meets all of them alike.
Figures are medians of the rounds. A latency counts from the time at which an object was due to the
time at which the receiving application had all of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wtp.bench.compare_ends import End, Load, Security
from wtp.bench.compare_figures import summary
from wtp.bench.compare_receive import receive
from wtp.bench.compare_rivals import AUDIO, EXTRA, FILE, ONE_OFF, RIVALS, VIDEO, Rival
from wtp.bench.compare_send import send
from wtp.bench.lossylink import MTU_BYTES, RECEIVER, Place, Stage, Weather, tcp_control
from wtp.bench.machine import cpu_s, machine_line, spin_ms
from wtp.bench.result import Figures
from wtp.errors import WtpError
from wtp.transport.certs import create_certificate

AUDIO_BYTES, AUDIO_RATE = 200, 100.0
FILE_BYTES = 64_000
"""What a file is cut into: a WebRTC message of more than 65,536 bytes is refused."""
HANDSHAKES = 5
PATIENCE_S = {True: 6.0, False: 1.0}
"""Silence after which what is missing is lost, of protocols that repeat and those that do not."""
HOST = "127.0.0.1"

Say = Callable[[str], None]
Row = dict[str, Any]
"""Raw figures of one protocol, use and weather in one round."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a comparison consists of.

    Attributes:
        rivals: Protocols, in the order of the table.
        weathers: Links, the clean one first.
        uses: Which uses, of `compare_rivals`.
        sizes: Sizes of the video objects in bytes, repeated.
        rate: Video objects a second.
        duration_s: Length of the video part; sound takes half of it, a file a quarter.
        warmup_s: Sent before on each connection, and left out.
        rounds: Turns of everything.
        plain: No TLS where a protocol can do without.
        source: Where the sizes come from, for people.
    """

    rivals: tuple[Rival, ...] = RIVALS
    weathers: tuple[Weather, ...] = (Weather(), Weather(0.01, 10.0))
    uses: tuple[str, ...] = (VIDEO, AUDIO, FILE, ONE_OFF)
    sizes: tuple[int, ...] = (20_000,)
    rate: float = 30.0
    duration_s: float = 4.0
    warmup_s: float = 0.5
    rounds: int = 3
    plain: bool = False
    source: str = "objects of one size"

    def loads(self) -> list[Load]:
        """The parts of one turn, without handshakes."""
        half_s, quarter_s = self.duration_s / 2, self.duration_s / 4
        every = (
            Load(VIDEO, self.sizes, self.rate, self.duration_s, self.warmup_s),
            Load(AUDIO, (AUDIO_BYTES,), AUDIO_RATE, half_s, self.warmup_s),
            Load(FILE, (FILE_BYTES,), 0.0, quarter_s, self.warmup_s / 2),
        )
        return [load for load in every if load.use in self.uses]

    @property
    def about_s(self) -> float:
        """How long it will take, roughly."""
        turn_s = 3.0 + sum(load.duration_s + load.warmup_s + 0.5 for load in self.loads())
        return turn_s * self.rounds * len(self.weathers) * len(self.rivals)

    def configuration(self) -> dict[str, Any]:
        """All of it as plain values, with the machine."""
        mean = sum(self.sizes) / len(self.sizes)
        return {
            "protocols": "; ".join(f"{rival.title} ({rival.stack})" for rival in self.rivals),
            "links": "; ".join(str(weather) for weather in self.weathers),
            "seed": self.weathers[0].seed if self.weathers else 1,
            "uses": "; ".join(self.uses),
            "video": f"{self.source}, {mean / 1000:g} KB in the mean, {self.rate:g}/s",
            "audio": f"{AUDIO_BYTES} bytes, {AUDIO_RATE:g}/s",
            "file": f"{FILE_BYTES / 1000:g} KB, as fast as it goes",
            "duration_s": self.duration_s,
            "warmup_s": self.warmup_s,
            "rounds": self.rounds,
            "tls": not self.plain,
            "mtu_bytes": MTU_BYTES,
            "tcp": self.weathers[0].tcp or tcp_control() or None,
            "machine": machine_line(),
        }


def run(plan: Plan, say: Say = lambda _: None) -> Figures:
    """Compare.

    Args:
        plan: What to compare.
        say: Told in a sentence what is going on.

    Returns:
        `protocols` (a row for each protocol and link), `verdicts` (for each use and link), `series`
        (keys of `wtp.bench.result` for each protocol, link and use), `p99_vs_websocket`, `notes`.

    Raises:
        WtpError: Nothing at all could be compared.
    """
    notes: list[str] = []
    plan = _possible(plan, notes)
    spin_before = spin_ms()
    raw: list[Row] = []
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="wtp-compare-") as folder:
        hosts = ("localhost", HOST, RECEIVER)
        made = create_certificate(Path(folder), hosts=hosts)
        security = Security(made.cert_path, made.key_path, plan.plain)
        for number, weather, rival in _turns(plan):
            say(f"round {number + 1} of {plan.rounds}, {weather}: {rival.title}")
            try:
                raw += _turn(plan, rival, weather, security)
            except WtpError as error:
                failed[f"{rival.title} ({weather})"] = error.message
    notes += [f"{name} failed in a round: {why}." for name, why in failed.items()]
    if not raw:
        raise WtpError("No protocol could be compared.", hint=" ".join(notes), code="compare")
    return {
        "from": "due to be sent",
        "to": "whole at the receiving application",
        "clock_error_ms": 0.0,
        **summary(plan.rivals, plan.uses, [str(weather) for weather in plan.weathers], raw),
        "spin_ms": {"before": spin_before, "after": spin_ms()},
        "configuration": plan.configuration(),
        "notes": notes,
    }


def _turns(plan: Plan) -> Iterator[tuple[int, Weather, Rival]]:
    for number in range(plan.rounds):
        for weather in plan.weathers:
            for rival in plan.rivals:
                yield number, replace(weather, seed=weather.seed + number), rival


def _possible(plan: Plan, notes: list[str]) -> Plan:
    """Leave out what cannot be done here, and say so."""
    for rival in plan.rivals:
        if rival.missing:
            names = ", ".join(rival.missing)
            notes.append(f"{rival.title} is left out: {names} is missing; install with {EXTRA}.")
    left = [rival for rival in plan.rivals if not rival.missing]
    if plan.plain:
        left = [replace(rival, tls=False) for rival in left]
    plan = replace(plan, rivals=tuple(left))
    try:
        for weather in plan.weathers[-1:]:
            Stage(weather).close()
    except WtpError as error:
        notes.append(f"{error.message} {error.hint} Compared without loss, on loopback.")
        plan = replace(plan, weathers=(Weather(),))
    if not plan.plain:
        bare = [rival.title for rival in plan.rivals if not rival.tls]
        notes += [f"{title} speaks without TLS here; the others have it." for title in bare]
    return plan


@contextmanager
def _places(weather: Weather) -> Iterator[tuple[Place, Place, str]]:
    """Where both ends stand, and the receiver's address."""
    try:
        stage = Stage(weather)
    except WtpError:
        if not weather.clean:
            raise
        yield Place(), Place(), HOST
        return
    with stage:
        yield stage.sender, stage.receiver, RECEIVER


def _turn(plan: Plan, rival: Rival, weather: Weather, security: Security) -> list[Row]:
    """One protocol on one link, once."""
    rows: list[Row] = []
    with ExitStack() as stack:
        here, there, host = stack.enter_context(_places(weather))
        options = {"host": host, **rival.options}
        receiver = End(receive, there, rival.module, options, security)
        stack.callback(receiver.close)
        address, between = receiver.answer()
        sender = End(send, here, rival.module, rival.options, security, address)
        stack.callback(sender.close)
        sender.answer()
        known = {"rival": rival.key, "weather": str(replace(weather, seed=1))}
        if ONE_OFF in plan.uses:
            rows.append(known | {"use": ONE_OFF, "times_ms": sender.ask("hands", HANDSHAKES)})
        rows += [
            known | {"use": load.use} | _part(sender, receiver, between, load, rival)
            for load in plan.loads()
        ]
    return rows


def _part(sender: End, receiver: End, between: list[int], load: Load, rival: Rival) -> Row:
    """One use: open a connection, warm it, measure."""
    patience_s = PATIENCE_S[rival.reliable]
    sender.ask("open", load.use)
    warm = sender.ask("load", replace(load, duration_s=load.warmup_s))
    receiver.ask("settle", warm["sent"], patience_s)
    receiver.ask("start", warm["next"])
    before_s = [cpu_s(pid) or 0.0 for pid in between]
    sent = sender.ask("load", load)
    got = receiver.ask("settle", sent["sent"], patience_s)
    used_s = sum((cpu_s(pid) or 0.0) for pid in between) - sum(before_s)
    sender.ask("close")
    return {
        **got,
        "sent": sent["sent"],
        "given_up": sent["given_up"],
        "sender_cpu_s": sent["cpu_s"],
        "receiver_cpu_s": got["cpu_s"],
        "between_cpu_s": used_s,
    }
