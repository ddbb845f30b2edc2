"""What a check looks at, and what it says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from wtp.config.schema import Settings
from wtp.transport.trust import Trust


class State(StrEnum):
    """How something is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and worse than it could, or not everywhere."""
    FAULT = "fault"
    """Something that is needed does not work."""
    UNKNOWN = "unknown"
    """It could not be seen, or there is nothing to look at."""


ORDER = (State.OK, State.UNKNOWN, State.WARNING, State.FAULT)
"""From good to bad."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer.

    Attributes:
        check: What was looked at; stable, for scripts.
        state: How it is.
        found: What was seen.
        why: Why it matters, one sentence.
        mend: The command, or the sentence, that mends it; empty when there is nothing to mend.
    """

    check: str
    state: State
    found: str
    why: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at.

    Attributes:
        settings: Profile, environment and flags.
        home: The data folder.
        certs: Folder of the certificate.
        trust: How the router's certificate is judged; nothing set: as other commands do.
        router_named: Whether the router was named by flag, environment or profile: then it is a
            fault that it does not answer.
        broker_named: Likewise the broker.
    """

    settings: Settings
    home: Path
    certs: Path
    trust: Trust = field(default_factory=Trust)
    router_named: bool = False
    broker_named: bool = False


def worst(states: Iterable[State]) -> State:
    """The worst of some states; ok when there are none."""
    return max(states, key=ORDER.index, default=State.OK)
