"""Python packages: what wtp and its extras ask for, against what is installed and importable."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

from wtp.doctor.finding import Finding, State, Subject
from wtp.doctor.probe import Answer, probe

MODULES = {
    "hdrhistogram": "hdrh.histogram",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry-sdk": "opentelemetry.sdk",
    "pulsar-client": "pulsar",
    "pyyaml": "yaml",
}
"""Modules of packages whose name does not tell them."""

ELSEWHERE = {"opencv-python", "sounddevice"}
"""Packages that lean on libraries of the system and have checks of their own."""

INSTEAD = {"opencv-python": "opencv-python-headless"}
"""Packages that bring the same module."""

LEFT_OUT = {"test"}
"""Extras that only the project itself needs."""

WHY = "Without its packages wtp does not run, and older ones lack what it calls."
WHY_EXTRAS = "An extra brings one feature; wtp works without, and says so when it is asked for it."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A package that is asked for.

    Attributes:
        name: Of the package.
        bounds: Versions, as pip takes them: `<1.8,>=1.7.2`.
        extra: The extra that asks for it; empty for wtp itself.
    """

    name: str
    bounds: str
    extra: str

    @property
    def module(self) -> str:
        """What is imported."""
        return MODULES.get(self.name, self.name.replace("-", "_"))


_FORM = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)")
_PYTHON = re.compile(r"python_version\s*(<|>=)\s*['\"](\d+)\.(\d+)")


def wanted(lines: Iterable[str], python: tuple[int, int]) -> list[Wanted]:
    """Read requirements as package metadata has them (PEP 508, the forms that wtp uses).

    Args:
        lines: `Requires-Dist` of the metadata.
        python: Version of the interpreter; what is not for it is left out.
    """
    found = []
    for line in lines:
        match = _FORM.fullmatch(line.strip())
        if match is None:
            continue
        name, bounds, marker = match[1].lower(), match[2].strip(), match[3] or ""
        for sign, major, minor in _PYTHON.findall(marker):
            limit = int(major), int(minor)
            if (python >= limit) if sign == "<" else (python < limit):
                break
        else:
            extra = _EXTRA.search(marker)
            found.append(Wanted(name, bounds, extra[1] if extra else ""))
    return found


def fits(version: str, bounds: str) -> bool:
    """Whether a version lies within bounds such as `<1.8,>=1.7.2`; others than these are let be."""
    for sign, limit in re.findall(r"(>=|<)\s*([0-9.]+)", bounds):
        have, need = _numbers(version), _numbers(limit)
        if (have < need) if sign == ">=" else (have >= need):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]
    return (*numbers, *(0,) * (3 - len(numbers)))


def installed(name: str) -> str | None:
    """The version of a package that is installed, or of one that takes its place; None for none."""
    for one in (name, INSTEAD.get(name, "")):
        try:
            return metadata.version(one) if one else None
        except metadata.PackageNotFoundError:
            continue
    return None


async def look(subject: Subject) -> list[Finding]:
    """Core packages and extras."""
    try:
        lines = metadata.requires("wtp") or []
    except metadata.PackageNotFoundError:
        found = "wtp is not installed as a package: what it needs is not known"
        return [Finding("packages", State.UNKNOWN, found, WHY, "pip install -e .")]
    everything = [one for one in wanted(lines, sys.version_info[:2]) if one.extra not in LEFT_OUT]
    versions = {one.name: installed(one.name) for one in everything}
    parts = [[one for one in everything if bool(one.extra) == extra] for extra in (False, True)]
    tried = [
        sorted({one.module for one in part if versions[one.name] and one.name not in ELSEWHERE})
        for part in parts
    ]
    core, extras = await asyncio.gather(*(probe(modules) for modules in tried))
    return [judge_core(parts[0], versions, core), judge_extras(parts[1], versions, extras)]


def judge_core(
    packages: list[Wanted], versions: Mapping[str, str | None], tried: Mapping[str, Answer]
) -> Finding:
    """Judge what wtp itself needs.

    Args:
        packages: What is asked for.
        versions: What is installed, by package; None for missing.
        tried: Answers of `probe` by module.
    """
    faults, mend, slow = [], [], []
    for one in packages:
        problem = fault(one, versions[one.name], tried)
        if problem:
            faults.append(problem)
            mend.append(f"'{one.name}{one.bounds}'")
        elif not tried.get(one.module, {"late": True}).get("late", False):
            continue
        elif one.name not in ELSEWHERE:
            slow.append(one.name)
    if faults:
        command = "pip install --upgrade " + " ".join(mend)
        return Finding("packages", State.FAULT, "; ".join(faults), WHY, command)
    found = f"{len(packages)} packages, all in the versions that are needed"
    if slow:
        found += f"; importing took too long to try {len(slow)} of them ({slow[0]}, ...)"
        return Finding("packages", State.UNKNOWN, found, WHY, "wtp doctor packages")
    return Finding("packages", State.OK, found, WHY)


def judge_extras(
    packages: list[Wanted], versions: Mapping[str, str | None], tried: Mapping[str, Answer]
) -> Finding:
    """Judge the extras; one that is not installed is no fault. Arguments as `judge_core`."""
    names = list(dict.fromkeys(one.extra for one in packages))
    broken, there, absent = [], [], []
    for name in names:
        parts = [one for one in packages if one.extra == name]
        if any(versions[one.name] is None for one in parts):
            absent.append(name)
            continue
        problems = [text for one in parts if (text := fault(one, versions[one.name], tried))]
        broken += [f"{name}: {text}" for text in problems]
        there += [name] * (not problems)
    state = State.WARNING if broken else State.OK
    found = "; ".join(
        part
        for part in (
            "; ".join(broken),
            f"installed: {', '.join(there)}" if there else "",
            f"not installed: {', '.join(absent)}" if absent else "",
        )
        if part
    )
    again = [text.partition(":")[0] for text in broken] + absent
    mend = f"pip install --upgrade 'wtp[{','.join(dict.fromkeys(again))}]'" if again else ""
    return Finding("extras", state, found or "there are none", WHY_EXTRAS, mend)


def fault(one: Wanted, version: str | None, tried: Mapping[str, Answer]) -> str:
    """What is wrong with a package, in a few words; empty when nothing is known to be."""
    if version is None:
        return f"{one.name} is missing"
    if not fits(version, one.bounds):
        return f"{one.name} {version} is not {one.bounds}"
    answer = tried.get(one.module)
    if answer is not None and answer["problem"] and not answer.get("late"):
        return f"{one.name} {version} cannot be imported ({answer['problem']})"
    return ""
