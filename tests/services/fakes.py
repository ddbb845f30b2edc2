"""Stand-ins around a stage: a service whose time and answers the test decides."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from wtp.metrics import Ledger
from wtp.model import Kind, Object, to_properties
from wtp.router.route import Drop
from wtp.router.service_client import Answer, Fault
from wtp.router.service_endpoint import Endpoint, Recent, Rules
from wtp.router.service_stage import ServiceStage
from wtp.wire.process import Parcel

TRACK = "room/me/cam"

RULES = Rules(
    urls=("http://one/process",),
    data_format="binary",
    max_retries=2,
    timeout_s=1.0,
    in_flight=4,
    breaker_failures=3,
    breaker_s=1.0,
)


class FakeTimer:
    def __init__(self, when_s: float, call: Callable[[], None]) -> None:
        self.when_s, self.call = when_s, call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeService:
    """Keeps what is sent until the test answers it."""

    def __init__(self, urls: int = 1, rules: Rules = RULES) -> None:
        self.ledger, self.latency = Ledger(), Recent()
        self.time_s = 100.0
        self.removed = False
        self.max_retries = rules.max_retries
        self.endpoints = [Endpoint(f"http://{i}/process", rules, self.now_s) for i in range(urls)]
        self.sent: list[tuple[Endpoint, Parcel, Callable[[Answer | Fault], None], float]] = []
        self.timers: list[FakeTimer] = []
        self.forgotten = False
        self.aside_of: list[str] = []

    def now_s(self) -> float:
        return self.time_s

    def call_at(self, when_s: float, call: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(when_s, call))
        return self.timers[-1]

    def choose(
        self,
        track: str,
        current: Endpoint | None,
        avoid: Endpoint | None,
        wake: Callable[[], None],
    ) -> Endpoint | float:
        able = [e for e in self.endpoints if e.circuit.allows(self.time_s) and not e.full]
        if current in able:
            return current if current is not None else inf
        if able:
            return next((e for e in able if e is not avoid), able[0])
        if any(e.full or e.circuit.state(self.time_s) == "half-open" for e in self.endpoints):
            for endpoint in self.endpoints:
                endpoint.wait(wake)
            return inf
        return min(e.circuit.again_s(self.time_s) for e in self.endpoints)

    def send(
        self, endpoint: Endpoint, parcel: Parcel, done: Callable[[Answer | Fault], None]
    ) -> None:
        self.sent.append((endpoint, parcel, done, endpoint.begin()))

    def aside(self, stage: ServiceStage, parcel: Parcel, obj: Object) -> bool:
        self.aside_of.append(parcel.track)
        return parcel.track.endswith("-derived")

    def forget(self, stage: ServiceStage) -> None:
        self.forgotten = True

    def pass_time(self, seconds: float) -> None:
        """Move on, and ring what is due."""
        end_s = self.time_s + seconds
        while due := [t for t in self.timers if not t.cancelled and t.when_s <= end_s]:
            timer = min(due, key=lambda t: t.when_s)
            self.timers.remove(timer)
            self.time_s = max(self.time_s, timer.when_s)
            timer.call()
        self.timers = [t for t in self.timers if not t.cancelled]
        self.time_s = end_s

    def answer(self, index: int = 0, result: Answer | Fault | None = None) -> Parcel:
        """Answer a try; default: with the object itself."""
        endpoint, parcel, done, began_s = self.sent.pop(index)
        if result is None:
            result = Answer((parcel,))
        endpoint.end(result, began_s)
        done(result)
        return parcel

    @property
    def out(self) -> list[int]:
        """Sequences that are out."""
        return [int(parcel.properties["seq"]) for _, parcel, _, _ in self.sent]


class Outcome:
    """What a route learns from a stage."""

    def __init__(self) -> None:
        self.put: list[int] = []
        self.results: list[tuple[int, list[Object] | Drop]] = []

    def of(self, obj: Object) -> Callable[[list[Object] | Drop], None]:
        self.put.append(obj.seq)

        def done(result: list[Object] | Drop) -> None:
            self.results.append((obj.seq, result))

        return done

    @property
    def delivered(self) -> list[int]:
        return [seq for seq, result in self.results if not isinstance(result, Drop)]

    @property
    def dropped(self) -> dict[int, str]:
        return {seq: r.reason for seq, r in self.results if isinstance(r, Drop)}


def properties(obj: Object) -> dict[str, str]:
    return to_properties(obj, "run", "boot:0", 0)


def stage_of(service: FakeService, kind: Kind = Kind.VIDEO, bound: int = 5) -> ServiceStage:
    return ServiceStage(TRACK, kind, properties, service, bound=bound, stall_s=0.5)


def video(seq: int, key: bool = False) -> Object:
    return Object(Kind.VIDEO, seq, 0, key, b"picture", capture_us=seq, content_type="video/h264")


def chat(seq: int) -> Object:
    return Object(Kind.CHAT, seq, seq, True, f"line {seq}".encode(), content_type="text/plain")
