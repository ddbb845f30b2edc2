"""Hops of a sampled object as OpenTelemetry spans."""

from __future__ import annotations

from wtp.config.schema import TracingSettings
from wtp.consumer.output import Output


def traced(output: Output, settings: TracingSettings) -> Output:
    """An output whose objects are sampled on their way."""
    return output
