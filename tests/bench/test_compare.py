"""The pure parts of a comparison: fates of packets, figures, verdicts, the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from wtp.bench import compare_rivals
from wtp.bench.compare import Plan, run
from wtp.bench.compare_figures import RULES, of_sent_ms, round_figures, summary, verdict
from wtp.bench.compare_rivals import AUDIO, FILE, ONE_OFF, RIVALS, VIDEO, choose
from wtp.bench.compare_source import LEAST_BYTES, recorded
from wtp.bench.lossylink import QUEUE_PACKETS, Lane, Weather, check_tcp
from wtp.config.schema import BrokerSettings
from wtp.errors import MediaError, UsageError, WtpError
from wtp.metrics import Latency
from wtp.ui.compare import table

V4, V6 = bytes([0x45]), bytes([0x60])


def lost(weather: Weather, name: str, packets: list[bytes]) -> list[int]:
    """Numbers of the IPv4 packets that do not arrive."""
    lane = Lane(weather, name)
    out = []
    number = 0
    for one in packets:
        before = lane.lost
        lane.offer(one, 0.0)
        number += one == V4
        if lane.lost > before:
            out.append(number)
    return out


def test_a_seed_decides_the_fate_of_the_nth_packet() -> None:
    weather = Weather(loss=0.05, seed=7)
    packets = [V4] * 4000
    there = lost(weather, "there", packets)
    assert 120 < len(there) < 280
    assert there == lost(weather, "there", packets)
    assert there == lost(weather, "there", [V6, V4] * 4000), "the kernel's own packets do not count"
    assert there != lost(weather, "back", packets)
    assert there != lost(replace(weather, seed=8), "there", packets)


def test_a_lane_delays_in_order_and_is_bounded() -> None:
    lane = Lane(Weather(delay_ms=10), "there")
    assert lane.next_s is None
    lane.offer(V4 + b"a", 1.0)
    lane.offer(V4 + b"b", 1.004)
    assert lane.next_s == pytest.approx(1.01)
    assert lane.due(1.009) == []
    assert lane.due(1.012) == [V4 + b"a"]
    assert lane.due(1.02) == [V4 + b"b"]
    for _ in range(QUEUE_PACKETS + 3):
        lane.offer(V4, 2.0)
    assert (lane.carried, lane.overflowed) == (2, 3)
    assert len(lane.due(3.0)) == QUEUE_PACKETS


def test_what_can_be_asked_for() -> None:
    assert choose([]) == RIVALS
    assert [one.key for one in choose(["wt-streams", "websocket"])] == ["websocket", "wt-streams"]
    with pytest.raises(UsageError, match="carrier-pigeon") as caught:
        choose(["carrier-pigeon"])
    assert "wt-streams" in caught.value.hint
    check_tcp("")
    with pytest.raises(UsageError, match="tahoe"):
        check_tcp("tahoe")
    assert str(Weather()) == "clean"
    assert str(Weather(0.015, 10)) == "1.5 % loss, 10 ms each way"


def raw(key: str, use: str, link: str, latencies_ms: list[float], **more: Any) -> dict[str, Any]:
    """What one turn brings, of objects of 1 MB that take a second together."""
    latency = Latency()
    for one in latencies_ms:
        latency.add(int(one * 1000))
    row = {
        **latency.snapshot(), "histogram": latency.encoded(), "sent": len(latencies_ms),
        "bytes": 1_000_000 * len(latencies_ms), "span_s": 1.0, "sender_cpu_s": 0.5,
        "receiver_cpu_s": 0.25, "between_cpu_s": 0.0, "rival": key, "weather": link, "use": use,
    }  # fmt: skip
    return row | more


def test_a_lost_object_counts_as_never_arriving() -> None:
    whole = raw("x", VIDEO, "clean", [float(n) for n in range(1, 101)])
    assert of_sent_ms(whole, 99) == pytest.approx(99, rel=0.01)
    assert of_sent_ms(whole | {"sent": 101}, 99) == pytest.approx(100, rel=0.01)
    assert of_sent_ms(whole | {"sent": 102}, 99) is None
    assert of_sent_ms(whole | {"sent": 102}, 95) == pytest.approx(97, rel=0.01)
    figures = round_figures(whole | {"sent": 102})
    assert figures["dropped"] == 2
    assert figures["mb_per_s"] == pytest.approx(100)
    assert figures["sender_cpu_ms_per_mb"] == pytest.approx(5)
    nothing = round_figures(raw("x", VIDEO, "clean", [], sent=5))
    assert nothing["n"] is nothing["p99_ms"] is nothing["sender_cpu_ms_per_mb"] is None
    assert nothing["dropped"] == 5


LINKS = ["clean", "5 % loss, 10 ms each way"]
FAST, SLOW = [1.0] * 99 + [2.0], [1.0] * 90 + [9.0] * 10


def compared() -> dict[str, Any]:
    """WebSocket is best on the clean link, WebTransport on the other; datagrams lose a tenth."""
    rows = []
    for turn in range(3):
        noise = [turn * 0.01]
        rows += [
            raw("websocket", VIDEO, LINKS[0], FAST + noise),
            raw("wt-streams", VIDEO, LINKS[0], SLOW + noise),
            raw("wt-datagrams", VIDEO, LINKS[0], FAST + noise),
            raw("websocket", VIDEO, LINKS[1], SLOW + noise),
            raw("wt-streams", VIDEO, LINKS[1], FAST + noise),
            raw("wt-datagrams", VIDEO, LINKS[1], FAST[:91], sent=100),
        ]
        for link in LINKS:
            rows += [
                raw("wt-datagrams", AUDIO, link, [0.1] * 100),
                raw("websocket", AUDIO, link, FAST),
                raw("wt-streams", FILE, link, [1.0] * 10),
                raw("websocket", FILE, link, [1.0] * 30),
                {"rival": "websocket", "weather": link, "use": ONE_OFF, "times_ms": [9.0, 3.0]},
                {"rival": "wt-streams", "weather": link, "use": ONE_OFF, "times_ms": [6.1]},
                {"rival": "pulsar-ws", "weather": link, "use": ONE_OFF, "times_ms": [1.0]},
            ]
    return summary(RIVALS, (VIDEO, AUDIO, FILE, ONE_OFF), LINKS, rows)


def test_the_best_is_named_whoever_it_is_and_ties_are_ties() -> None:
    figures = compared()
    found = {(one["use"], one["link"]): one["winners"] for one in figures["verdicts"]}
    assert found[VIDEO, LINKS[0]] == ["WebSocket", "WebTransport datagrams"]
    assert found[VIDEO, LINKS[1]] == ["WebTransport streams"]
    assert found[AUDIO, LINKS[0]] == ["WebTransport datagrams"]
    assert found["chat", LINKS[0]] == ["WebSocket"], "datagrams promise nothing"
    assert found[FILE, LINKS[0]] == ["WebSocket"]
    assert found[ONE_OFF, LINKS[0]] == ["WebSocket", "WebTransport streams"], "with TLS"
    assert figures["p99_vs_websocket"][LINKS[0]] > 2
    assert figures["p99_vs_websocket"][LINKS[1]] < 0.5
    row = next(one for one in figures["series"] if one["label"] == f"WebSocket, {VIDEO}, clean")
    assert (row["n"], row["sent"], row["dropped"]) == (303, 303, 0)
    assert row["spread"]["p50_ms"]["min"] <= row["p50_ms"] <= row["spread"]["p50_ms"]["max"]


def test_within_the_range_of_the_best_is_a_tie() -> None:
    def one(name: str, value: float, low: float, high: float) -> dict[str, Any]:
        known = {"protocol": name, "dropped": 0, "reliable": True, "p99_of_sent_ms": value}
        return known | {"spread": {"p99_of_sent_ms": {"min": low, "max": high}}}

    close = [one("a", 10, 8, 14), one("b", 13, 12, 15), one("c", 30, 29, 31)]
    found = verdict(RULES[0], "clean", close)
    assert (found["winners"], found["next"]) == (["a", "b"], "c")
    apart = [one("a", 10, 9, 11), one("b", 13, 12, 15)]
    assert verdict(RULES[0], "clean", apart)["winners"] == ["a"]
    noisy = [one("a", 10, 9, 11), one("b", 13, 5, 50)]
    assert verdict(RULES[0], "clean", noisy)["winners"] == ["a"], "noise of others is no merit"
    lost_all = [close[0] | {"p99_of_sent_ms": None}]
    assert verdict(RULES[0], "clean", lost_all)["winners"] == []


def test_the_table_fits_a_terminal_and_says_who_is_best() -> None:
    text = StringIO()
    figures = compared() | {"notes": ["Something is missing."]}
    Console(file=text, width=80, color_system=None).print(table(figures))
    shown = text.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert all(name in shown for name in ("WebSocket", "WebTransport datagrams", *LINKS))
    assert "9.0%" in shown, "what datagrams lost"
    assert "(tied)" in shown
    assert "note: Something is missing." in shown


def test_a_missing_extra_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_rivals, "find_spec", lambda _: None)
    with pytest.raises(WtpError, match="No protocol") as caught:
        run(Plan(rivals=choose(["rest2", "rtc-lossy"]), weathers=(Weather(),)))
    assert "REST HTTP/2 is left out" in caught.value.hint
    assert "aiortc is missing; install with pip install 'wtp[compare]'" in caught.value.hint
    assert [one.key for one in RIVALS if not one.missing] == [
        "rest1", "websocket", "wt-streams", "wt-datagrams", "pulsar-ws"
    ]  # fmt: skip


def test_sizes_of_a_real_film(footage: Callable[[str], Path], tmp_path: Path) -> None:
    found = recorded(str(footage("bigbuckbunny.mp4")), BrokerSettings())
    assert len(found.sizes) == 132
    assert found.rate == pytest.approx(25)
    assert min(found.sizes) >= LEAST_BYTES
    assert max(found.sizes) > 10 * min(found.sizes), "key pictures are large"
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(MediaError):
        recorded(str(tmp_path / "text.mp4"), BrokerSettings())
