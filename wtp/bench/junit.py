"""A benchmark's run and objectives as JUnit XML, which build servers show as tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from wtp.bench.objective import Verdict
from wtp.bench.units import flat, shown


def as_junit(
    bench: str,
    seconds: float,
    figures: Mapping[str, Any],
    verdicts: Sequence[Verdict] = (),
    error: str = "",
) -> str:
    """One test case for the run and one for each objective.

    Args:
        bench: Name of the benchmark.
        seconds: How long it took.
        figures: What it found; empty when it failed.
        verdicts: Objectives.
        error: Why it failed; empty when it did not.
    """
    name = f"wtp bench {bench}"
    failures = sum(not verdict.held for verdict in verdicts)
    suite = ET.Element(
        "testsuite",
        name=name,
        tests=str(1 + len(verdicts)),
        failures=str(failures),
        errors=str(int(bool(error))),
        skipped="0",
        time=f"{seconds:.3f}",
    )
    if figures.get("started"):
        suite.set("timestamp", str(figures["started"])[:19])
    properties = ET.SubElement(suite, "properties")
    for key, value in (figures.get("configuration") or {}).items():
        ET.SubElement(properties, "property", name=str(key), value=_clean(str(value)))
    run = ET.SubElement(suite, "testcase", classname=name, name="run", time=f"{seconds:.3f}")
    if error:
        ET.SubElement(run, "error", message=_clean(error))
    lines = [f"{key} = {shown(key, value)}" for key, value in flat(figures)]
    ET.SubElement(run, "system-out").text = _clean("\n".join(lines))
    for verdict in verdicts:
        case = ET.SubElement(
            suite, "testcase", classname=name, name=_clean(str(verdict.objective)), time="0"
        )
        if not verdict.held:
            failure = ET.SubElement(case, "failure", message=_clean(verdict.sentence))
            failure.text = json.dumps({"value": verdict.value, "limit": verdict.limit})
    ET.indent(suite)
    text = ET.tostring(suite, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _clean(text: str) -> str:
    """Without the control characters that XML has no way to write."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")
