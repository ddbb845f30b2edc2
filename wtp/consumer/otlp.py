"""The border to OpenTelemetry: journeys become spans and go to an OTLP/HTTP collector.

The SDK keeps a bounded queue (2048 spans, the newest are lost when it is full) and sends it from a
thread of its own, so a collector that is slow or away costs spans and nothing else.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wtp import __version__
from wtp.consumer.traces import Journey
from wtp.errors import MissingLibrary, UsageError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger("wtp.consumer")

PATH = "/v1/traces"
"""Where OTLP/HTTP takes spans (OTLP specification, "OTLP/HTTP Request")."""

TIMEOUT_S = 3.0
DELAY_MS = 1000
"""How long spans are gathered before they are sent."""

CLOSE_S = 1.0
"""How long the collector gets at the end to take what is left."""


class OtlpCollector:
    """Sends journeys to a collector.

    Args:
        endpoint: Its URL, `http://HOST:4318`, with or without the path.
        exporter: Replaces the one for OTLP/HTTP, for tests.

    Raises:
        MissingLibrary: The extra is not installed.
        UsageError: The endpoint is no URL.
    """

    def __init__(self, endpoint: str, exporter: SpanExporter | None = None) -> None:
        url = traces_url(endpoint)
        try:
            from opentelemetry import trace
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            if exporter is None:
                from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

                exporter = OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_S)
        except ImportError as error:
            raise MissingLibrary(
                "Traces need the OpenTelemetry SDK, which is not installed.",
                hint="Install it: pip install 'wtp[otel]'; or leave --otlp out.",
            ) from error
        _hush()
        self._exporter = exporter
        resource = Resource.create({"service.name": "wtp", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(told(exporter, url), schedule_delay_millis=DELAY_MS)
        )
        self._tracer = self._provider.get_tracer("wtp.consumer", __version__)
        self._within = trace.set_span_in_context

    def send(self, journey: Journey) -> None:
        """Queue the spans of one journey."""
        points = journey.points
        (first, start_us), (last, end_us) = points[0], points[-1]
        whole = self._tracer.start_span(
            f"{first}->{last}", start_time=start_us * 1000, attributes=journey.attributes
        )
        within = self._within(whole)
        for (one, from_us), (other, to_us) in pairwise(points):
            hop = self._tracer.start_span(
                f"{one}->{other}", context=within, start_time=from_us * 1000
            )
            hop.end(to_us * 1000)
        whole.end(end_us * 1000)

    def close(self) -> None:
        """Send what is left; a collector that does not take it soon is left alone."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(CLOSE_S)
        if ending.is_alive():
            self._exporter.shutdown()  # which ends its tries


def traces_url(endpoint: str) -> str:
    """Where spans go.

    Raises:
        UsageError: It is no URL.
    """
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            f"{endpoint!r} is no URL of a collector.", hint="Write --otlp http://127.0.0.1:4318."
        )
    base = endpoint.rstrip("/")
    return base if base.endswith(PATH) else base + PATH


def _hush() -> None:
    """Keep the SDK's own log away: it repeats itself for as long as a collector is away."""
    theirs = logging.getLogger("opentelemetry")
    if not os.environ.get("WTP_DEBUG"):
        theirs.addHandler(logging.NullHandler())
        theirs.propagate = False


def told(exporter: SpanExporter, url: str) -> SpanExporter:
    """An exporter that says once when its collector takes nothing, and when it does again."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Told(SpanExporter):
        away = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = exporter.export(spans)
            away = result is not SpanExportResult.SUCCESS
            if away and not self.away:
                log.warning(
                    "The collector at %s takes no traces; reading goes on without them. "
                    "Start it, or leave --otlp out.",
                    url,
                )
            elif self.away and not away:
                log.warning("The collector at %s takes traces.", url)
            self.away = away
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Told()
