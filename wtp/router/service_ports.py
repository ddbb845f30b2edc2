"""What a stage asks of the service behind it, and of the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from wtp.metrics import Ledger
from wtp.model import Object
from wtp.router.service_client import Answer, Fault
from wtp.router.service_endpoint import Endpoint, Recent
from wtp.wire.process import Parcel

if TYPE_CHECKING:
    from wtp.router.service_stage import ServiceStage


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not make it."""


class Surroundings(Protocol):
    """What a stage asks of the service behind it."""

    ledger: Ledger
    latency: Recent

    @property
    def removed(self) -> bool:
        """Whether there is no processor any more."""

    @property
    def max_retries(self) -> int:
        """Of one live object."""

    def now_s(self) -> float:
        """Monotonic time."""

    def call_at(self, when_s: float, call: Callable[[], None]) -> Timer:
        """Make a call later."""

    def choose(
        self,
        track: str,
        current: Endpoint | None,
        avoid: Endpoint | None,
        wake: Callable[[], None],
    ) -> Endpoint | float:
        """The processor to ask: the current one while it works, and rather not the one to avoid.

        Returns:
            A processor that takes a request now, or when to look again: the time when the first
            circuit may be tried, or `inf` when `wake` will be called.
        """

    def send(
        self, endpoint: Endpoint, parcel: Parcel, done: Callable[[Answer | Fault], None]
    ) -> None:
        """Try an object with a processor."""

    def aside(self, stage: ServiceStage, parcel: Parcel, obj: Object) -> bool:
        """Publish what a processor made for another track; False where that cannot be."""

    def forget(self, stage: ServiceStage) -> None:
        """This stage's route has ended."""
