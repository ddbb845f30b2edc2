"""Processors: user code applied to objects, over HTTP or from topic to topic."""
