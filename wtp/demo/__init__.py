"""Everything on this machine as separate processes, watched: the demo."""

from wtp.demo.plan import DemoOptions
from wtp.demo.run import Demo

__all__ = ["Demo", "DemoOptions"]
