"""OpenCV and the libraries of the system that its wheel needs."""

from __future__ import annotations

from wtp.doctor.finding import Finding, State, Subject
from wtp.doctor.probe import Answer, probe

WHY = "Cameras and windows need OpenCV with the system's libGL and glib; all else works without."


async def look(subject: Subject) -> list[Finding]:
    """Load it in another process."""
    answers = await probe(["opencv"])
    return [judge(answers["opencv"])]


def judge(answer: Answer) -> Finding:
    """Judge the answer of `probe`."""
    if answer["problem"]:
        state = State.UNKNOWN if answer.get("late") else State.WARNING
        mend = answer["remedy"] or "pip install --upgrade opencv-python"
        return Finding("opencv", state, _short(answer["problem"]), WHY, mend)
    found = f"OpenCV {answer['version']}, libGL and glib found"
    if answer["gui"] in ("", "NONE"):
        found = f"OpenCV {answer['version']} without windows"
        return Finding("opencv", State.WARNING, found, WHY, "pip install opencv-python")
    return Finding("opencv", State.OK, f"{found}, windows by {answer['gui']}", WHY)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."
