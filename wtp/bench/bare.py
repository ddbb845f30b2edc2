"""A router without stamps and statistics, to weigh what those cost.

`python -m wtp.bench.bare router ...` runs it.

It forwards the same objects; it takes no time of any of them, describes them by what a consumer
needs to decode them, counts no latencies and tells publishers no figures. The ledger stays, since
queueing and flushing go by it.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from typing import Any

from wtp.broker.client import Producer
from wtp.errors import BrokerError, Refused
from wtp.model import Object
from wtp.router.peer import Peer
from wtp.router.route import Route


def _as_it_came(_route: Route, obj: Object) -> Object:
    return obj


def _few_properties(route: Route, obj: Object) -> dict[str, str]:
    return {
        **obj.attributes,
        "wtp": "1",
        "kind": obj.kind.value,
        "content_type": route.content_type,
        "seq": str(obj.seq),
        "instance": route.instance,
        "group": str(obj.group),
        "key": "1" if obj.key else "0",
    }


def _hand_over_plainly(
    route: Route, producer: Producer, obj: Object, seq: int | None, done: Callable[..., None]
) -> None:
    def on_receipt(error: BrokerError | Refused | None) -> None:
        done(error)

    producer.send(
        obj.payload,
        properties=_few_properties(route, obj),
        key=route._key,
        event_ms=0,
        seq=seq,
        done=on_receipt,
    )


def _tell_nothing(_peer: Peer) -> None:
    """Publishers get no figures."""


def strip() -> None:
    """Take stamps and statistics out of this process's router."""
    parts: list[tuple[type, str, Any]] = [
        (Route, "_stamped", _as_it_came),
        (Route, "properties", _few_properties),
        (Route, "_hand_over", _hand_over_plainly),
        (Peer, "tell_stats", _tell_nothing),
    ]
    for owner, name, instead in parts:
        if name not in vars(owner):
            raise AttributeError(f"{owner.__name__} has no {name} to take out")
        setattr(owner, name, instead)


if __name__ == "__main__":
    strip()
    runpy.run_module("wtp", run_name="__main__", alter_sys=True)
