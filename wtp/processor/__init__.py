"""Processors: user code applied to objects, over HTTP or from topic to topic.

User code is a plain callable (`wtp.processor.code` says what it may look like). It runs in
processes of its own (`wtp.processor.isolate`), so that its faults cost one object each.
"""

from wtp.model import Object
from wtp.processor.info import Info

__all__ = ["Info", "Object"]
