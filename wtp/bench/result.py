"""What a benchmark returns: a dictionary of plain values, with these keys where they apply.

    n, p50_ms, p90_ms, p99_ms, p999_ms, max_ms   the latency that the benchmark is about
    from, to            the ends of it, in words
    clock_error_ms      bound on the error of that latency; None when unknown
    hops                {"send->route": {"n": ..., "p50_ms": ...}, ...}, in the order of the path
    dropped             objects that were lost, a number; `dropped_by_hop` {hop: {reason: count}}
    offered, delivered, in_flight
    objects_per_s, mb_per_s, cpu_s {process: seconds}, ..._per_core_s
    baseline            the same keys, measured in the same run without what is being measured
    ratio_p50           ours / baseline
    series              [{"label": "2 KB", ...the same keys}, ...], one entry per point of a range
    histogram           the latency as text, from `wtp.metrics.Latency.encoded`; in files and
                        reports, never in tables
    timeline            [{"t_s": 1.0, "n": ..., "p50_ms": ..., "p99_ms": ..., "max_ms": ...}, ...],
                        one entry per second, from `wtp.metrics.Timeline`
    configuration       what was run, and on which machine
    notes               [sentence, ...], what a reader has to know to judge the figures

A figure that is not known is None, never 0; a unit stands in the name (_ms, _s, _bytes, _mb,
_per_s, _percent). A latency counts from the time an object was due to be sent, so that a sender
that falls behind raises it (coordinated omission).
"""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]
"""Keys as above."""
