"""From the raw figures of rounds to a table and a verdict for each use. Pure.

The rules of the verdicts, which stand in the result as well:

- live video: the least p99 of all that was sent; an object that is lost counts as never arriving,
  so that whoever loses more than 1 % has no p99 (`RULES`).
- audio: the least p95 of all that was sent, since a decoder hides a lost packet in twenty.
- chat: the audio objects again, by p99, among those that repeat what is lost.
- one-off message: the least time from nothing to the answer on a new connection, likewise; among
  those with TLS, which costs a round trip, when any has it.
- file: the most MB/s, likewise.

Another is tied with the best when its figure differs by less than 10 %, which is what runs on a
shared machine repeat to, or lies within what the best itself spread over its rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from hdrh.histogram import HdrHistogram

from wtp.bench.compare_rivals import AUDIO, FILE, ONE_OFF, STREAMS, VIDEO, WEBSOCKET, Rival
from wtp.bench.repeat import added

NOISE = 0.1
"""Share by which two runs of the same thing may differ on a shared machine."""

CHAT = "chat"
LATENCIES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")


@dataclass(frozen=True, slots=True)
class Rule:
    """How the best for a use is found.

    Attributes:
        use: Name of the use.
        part: Which part of the run it looks at.
        key: Figure that decides.
        unit: Its unit.
        most: Whether more is better.
        whole: Whether nothing may be lost, by promise and in the run.
        words: The rule in words.
    """

    use: str
    part: str
    key: str
    unit: str
    most: bool
    whole: bool
    words: str


RULES = (
    Rule(VIDEO, VIDEO, "p99_of_sent_ms", "ms", False, False, "p99 of all sent; lost = never"),
    Rule(AUDIO, AUDIO, "p95_of_sent_ms", "ms", False, False, "p95 of all sent; lost = never"),
    Rule(CHAT, AUDIO, "p99_of_sent_ms", "ms", False, True, "p99 of audio; reliable only"),
    Rule(ONE_OFF, ONE_OFF, "handshake_ms", "ms", False, True, "first answer; reliable, with TLS"),
    Rule(FILE, FILE, "mb_per_s", "MB/s", True, True, "MB/s; reliable only"),
)  # fmt: skip


def of_sent_ms(row: dict[str, Any], percent: float) -> float | None:
    """A percentile over all objects sent, where the lost ones come last; None when it is lost."""
    rank = math.ceil(row["sent"] * percent / 100)
    if not row["n"] or rank > row["n"]:
        return None
    histogram = HdrHistogram.decode(row["histogram"])
    share = min(100.0, 100 * rank / row["n"])
    value_ms = float(histogram.get_value_at_percentile(share)) / 1000
    return round(min(value_ms, float(row["max_ms"])), 3)


def round_figures(row: dict[str, Any]) -> dict[str, Any]:
    """Figures of one protocol, link and use in one round."""
    if row["use"] == ONE_OFF:
        return _of_times(row["times_ms"])
    mb = row["bytes"] / 1e6
    out = {key: row[key] for key in ("n", *LATENCIES)}
    out["n"] = row["n"] or None
    out |= {"sent": row["sent"], "dropped": row["sent"] - row["n"]}
    out["p95_of_sent_ms"] = of_sent_ms(row, 95)
    out["p99_of_sent_ms"] = of_sent_ms(row, 99)
    out["mb_per_s"] = mb / row["span_s"] if row["span_s"] > 0 else None
    for end in ("sender", "receiver", "between"):
        out[f"{end}_cpu_ms_per_mb"] = row[f"{end}_cpu_s"] * 1000 / mb if mb else None
    return out


def _of_times(times_ms: Sequence[float]) -> dict[str, Any]:
    """Figures of single messages, each on a connection of its own."""
    ordered = sorted(times_ms)
    ranks = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
    known = {key: ordered[math.ceil(share * len(ordered)) - 1] for key, share in ranks.items()}
    counts = {"n": len(ordered), "sent": len(ordered), "dropped": 0}
    return {**counts, **known, "handshake_ms": median(ordered)}


SUMS = ("n", "sent", "dropped")
"""Counts are added up over the rounds; everything else is a median."""


def over_rounds(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the rounds, and `spread` with the least and the most of those always known.

    A figure that is unknown in half of the rounds is unknown.
    """
    out: dict[str, Any] = {}
    spread: dict[str, Any] = {}
    for key in rounds[0]:
        values = [one[key] for one in rounds]
        if key in SUMS:
            out[key] = sum(value or 0 for value in values) or (0 if key == "dropped" else None)
            continue
        known = sorted(value for value in values if value is not None)
        out[key] = median(known) if 2 * len(known) > len(values) else None
        if len(known) == len(values):
            spread[key] = {"min": known[0], "median": out[key], "max": known[-1]}
    return out | {"spread": spread}


def summary(
    rivals: Sequence[Rival],
    uses: Sequence[str],
    links: Sequence[str],
    raw: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Everything that follows from the rounds.

    Args:
        rivals: The protocols, in the order of the table.
        uses: The uses that were measured.
        links: The links in words, the clean one first.
        raw: A dictionary for each protocol, link, use and round.

    Returns:
        `protocols`, `verdicts`, `series`, `p99_vs_websocket`, `rules`.
    """
    series = []
    for link in links:
        for rival in rivals:
            for use in uses:
                rows = [
                    row
                    for row in raw
                    if (row["rival"], row["weather"], row["use"]) == (rival.key, link, use)
                ]
                if rows:
                    series.append(_point(rival, use, link, rows))
    return {
        "protocols": _table(rivals, links, series),
        "verdicts": [
            verdict(rule, link, [one for one in series if _is(one, rule.part, link)])
            for rule in RULES
            if rule.part in uses
            for link in links
        ],
        "p99_vs_websocket": _against(rivals, links, series),
        "rules": {rule.use: rule.words for rule in RULES if rule.part in uses},
        "series": series,
    }


def _point(rival: Rival, use: str, link: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one protocol, use and link over the rounds; of video the histogram too."""
    known: dict[str, Any] = {
        "label": f"{rival.title}, {use}, {link}",
        "protocol": rival.title,
        "use": use,
        "link": link,
        "reliable": rival.reliable,
        "tls": rival.tls,
    }
    if use == VIDEO:
        known["histogram"] = added([row["histogram"] for row in rows])
    return known | over_rounds([round_figures(row) for row in rows])


def _is(one: dict[str, Any], use: str, link: str) -> bool:
    return bool(one["use"] == use and one["link"] == link)


def _table(
    rivals: Sequence[Rival], links: Sequence[str], series: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """A row for each protocol and link, with the figures of all uses."""
    rows = []
    for link in links:
        for rival in rivals:
            by_use = {
                one["use"]: one
                for one in series
                if one["protocol"] == rival.title and one["link"] == link
            }
            if not by_use:
                continue
            video, audio = by_use.get(VIDEO, {}), by_use.get(AUDIO, {})
            file, first = by_use.get(FILE, {}), by_use.get(ONE_OFF, {})
            row = {"protocol": rival.title, "link": link, "n": video.get("n")}
            row |= {key: video.get(key) for key in LATENCIES if key != "p999_ms"}
            row |= {"sent": video.get("sent"), "dropped": video.get("dropped")}
            row |= {f"audio_{key}": audio.get(key) for key in ("p50_ms", "p99_ms", "dropped")}
            row["handshake_ms"] = first.get("handshake_ms")
            row["mb_per_s"] = file.get("mb_per_s")
            row |= {
                f"{end}_cpu_ms_per_mb": file.get(f"{end}_cpu_ms_per_mb")
                for end in ("sender", "receiver", "between")
            }
            rows.append(row)
    return rows


def verdict(rule: Rule, link: str, series: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Who is best for a use on a link, and who is tied with it.

    Args:
        rule: What decides.
        link: The link, in words.
        series: Figures of each protocol for the rule's part.

    Returns:
        `use`, `link`, `winners` (several: tied; none: nobody does it), `figure`, `unit`, `next` and
        `next_figure` (the best that is not tied), and `sentence`.
    """
    able = [
        one
        for one in series
        if one[rule.key] is not None
        and not (rule.whole and (one.get("dropped") or not one["reliable"]))
    ]
    if rule.use == ONE_OFF and any(one["tls"] for one in able):
        able = [one for one in able if one["tls"]]
    able.sort(key=lambda one: one[rule.key], reverse=rule.most)
    found: dict[str, Any] = {"use": rule.use, "link": link, "unit": rule.unit, "rule": rule.words}
    if not able:
        return found | {
            "winners": [], "figure": None, "next": None, "next_figure": None,
            "sentence": f"nobody: all lost too much ({rule.words})",
        }  # fmt: skip
    best = able[0]
    tied = [one for one in able if _tied(best, one, rule)]
    rest = [one for one in able if one not in tied]
    after = rest[0] if rest else None
    found |= {
        "winners": [one["protocol"] for one in tied],
        "figure": best[rule.key],
        "next": after["protocol"] if after else None,
        "next_figure": after[rule.key] if after else None,
    }
    return found | {"sentence": _sentence(rule, tied, after)}


def _tied(best: dict[str, Any], other: dict[str, Any], rule: Rule) -> bool:
    """Whether another is as good as the best but for noise: in the figure, or in its range."""
    high, low = max(best[rule.key], other[rule.key]), min(best[rule.key], other[rule.key])
    if high <= low * (1 + NOISE):
        return True
    spread = best["spread"].get(rule.key)
    if not spread:
        return False
    return bool(other[rule.key] >= spread["min"] if rule.most else other[rule.key] <= spread["max"])


def _sentence(rule: Rule, tied: Sequence[dict[str, Any]], after: dict[str, Any] | None) -> str:
    def with_figure(one: dict[str, Any]) -> str:
        return f"{one['protocol']} {one[rule.key]:.3g} {rule.unit}"

    text = " = ".join(with_figure(one) for one in tied)
    if len(tied) > 1:
        text += " (tied)"
    return f"{text}; then {with_figure(after)}" if after else text


def _against(
    rivals: Sequence[Rival], links: Sequence[str], series: Sequence[dict[str, Any]]
) -> dict[str, float | None]:
    """The p99 of live video by WebTransport streams over that by WebSocket, for each link."""
    titles = {rival.key: rival.title for rival in rivals}
    out: dict[str, float | None] = {}
    for link in links:
        found = {one["protocol"]: one.get("p99_ms") for one in series if _is(one, VIDEO, link)}
        ours, theirs = found.get(titles.get(STREAMS, "")), found.get(titles.get(WEBSOCKET, ""))
        if ours is not None and theirs:
            out[link] = round(ours / theirs, 3)
    return out
