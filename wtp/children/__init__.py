"""Processes that belong to this one: a child, a kept (restarted) child, the broker at need.

A child runs `python -m wtp ARGS --child`. Its stdin is the life line: nothing is ever written to
it, and its end means "finish now", so that a child also ends when its parent was killed. Its stdout
carries one JSON object a line: `ready`, `status`, `summary` and `error` events.
"""

from wtp.children.broker import ensure_broker
from wtp.children.child import Child
from wtp.children.events import Event, error_event, error_from, parent_gone
from wtp.children.keep import Kept, State

__all__ = [
    "Child",
    "Event",
    "Kept",
    "State",
    "ensure_broker",
    "error_event",
    "error_from",
    "parent_gone",
]
