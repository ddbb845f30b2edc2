"""What is drawn: every width, gaps, what is unknown, order and filter, hostile names."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from tests.dashboard import samples
from wtp.ui import dashboard as ui
from wtp.ui.dashboard_hops import hops
from wtp.ui.dashboard_lines import BLOCKS, brief_bits, cell, chart, spark
from wtp.ui.dashboard_panes import panes
from wtp.ui.dashboard_tracks import COLUMNS, PLACES, SORTS, Look, chosen, ordered, tracks

WIDTHS = (20, 39, 40, 60, 80, 100, 140, 240)


def drawn(what: RenderableType, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def many(count: int = 30) -> dict[str, samples.Values]:
    return {f"room/p{n:02}/video": samples.row(float(n)) for n in range(count)}


def test_a_line_of_history_has_a_cell_per_second() -> None:
    assert spark([0.0, 4.0, 8.0], 3) == BLOCKS[0] + BLOCKS[4] + BLOCKS[7]
    assert spark([1.0, None, 1.0], 5) == "  " + BLOCKS[7] + " " + BLOCKS[7]
    assert spark([9.0, 1.0, 1.0], 2) == BLOCKS[7] * 2


@pytest.mark.parametrize("values", [[], [None], [0.0, 0.0], [float("inf"), float("nan"), 1.0]])
def test_a_line_of_history_never_fails(values: list[float | None]) -> None:
    assert len(spark(values, 10)) == 10
    assert spark(values, 0) == spark(values, -3) == ""


def test_a_chart_is_as_high_as_asked() -> None:
    lines = chart([0.0, 4.0, None, 8.0], 6, 2)
    assert [len(line) for line in lines] == [6, 6]
    assert lines[0].endswith(f"  {BLOCKS[7]}")
    assert lines[1] == f"  {BLOCKS[0]}{BLOCKS[7]} {BLOCKS[7]}"
    assert chart([], 4, 2) == ["    ", "    "]


def test_cells() -> None:
    assert cell(None) == "unknown"
    assert cell(None, missing="-") == "-"
    assert cell(1.234, 1) == "1.2"
    assert brief_bits(None) == "unknown"
    assert [brief_bits(v) for v in (0, 999, 2_610_000, 999_900, 1e9)] == [
        "0", "999", "2.61M", "1M", "1G",
    ]  # fmt: skip


def test_every_column_has_a_place_and_can_be_sorted_by() -> None:
    assert sorted(PLACES) == sorted(column.key for column in COLUMNS)
    assert ("track", *(column.key for column in COLUMNS)) == SORTS


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("state", ["up", "gone", "waiting"])
def test_everything_fits_every_width(width: int, state: str) -> None:
    snapshot = samples.snapshot(state)
    for what in (
        ui.head(snapshot, Look(), width),
        tracks(snapshot, Look(), width, 5),
        hops(snapshot, samples.TRACK),
        ui.alone(snapshot, samples.TRACK, width),
        panes(snapshot, width),
        ui.once(snapshot, width),
        ui.tiny(snapshot, Look()),
        ui.help_page(),
    ):
        assert max(len(line) for line in drawn(what, width).splitlines()) <= width


def test_the_essentials_stand_in_80_columns() -> None:
    snapshot = samples.snapshot()
    text = drawn(ui.head(snapshot, Look(), 80), 80) + drawn(tracks(snapshot, Look(), 80, 5), 80)
    for essential in ("routers 1/1", "broker ok", "30.0 objects/s", "2.61 Mbit/s", "p99 8.00 ms",
                      "default/demo/video", "drops", "queue", "dropped 7"):  # fmt: skip
        assert essential in text


def test_a_wider_terminal_shows_histories_of_tracks() -> None:
    snapshot = samples.snapshot()
    assert BLOCKS[7] not in drawn(tracks(snapshot, Look(), 60, 5), 60)
    assert BLOCKS[7] in drawn(tracks(snapshot, Look(), 120, 5), 120)


def test_a_router_that_is_gone_has_no_figures() -> None:
    lost = samples.row(objects_s=None, bits_s=None, queued=None, receipt=None, latency=None,
                       hops={}, state="lost", dropped={})  # fmt: skip
    snapshot = samples.snapshot("gone", **{samples.TRACK: lost})
    text = drawn(ui.head(snapshot, Look(), 100))
    assert "GONE since 21:45:03Z (12.0 s)" in text
    assert "connect call failed" in text
    assert "unknown objects/s" in text
    assert drawn(tracks(snapshot, Look(), 100, 5)).count("unknown") == 6
    assert "does not answer" in drawn(hops(snapshot, samples.TRACK))
    line = ui.line(snapshot)
    assert "routers 0 of 1 up" in line
    assert "GONE since" in line
    assert "session" not in line
    assert "latency unknown" in line


def test_one_line_says_what_the_latency_is_of() -> None:
    line = ui.line(samples.snapshot())
    assert "capture->receive p50 2.00 ms p99 8.00 ms" in line
    assert "(of the last seconds, n 1234, clock error 0.00 ms)" in line
    bare = samples.snapshot(**{samples.TRACK: samples.row(latency=None)})
    assert "publish->receipt p50 0.70 ms p99 0.90 ms (of the last seconds, n 30)" in ui.line(bare)


def test_percentiles_since_the_start_are_called_so() -> None:
    row = samples.row()
    row["latency"] |= {"over": "start", "last_ms": 2.5}
    snapshot = samples.snapshot(**{samples.TRACK: row})
    head = drawn(ui.head(snapshot, Look(), 120), 120)
    assert "newest 2.50 ms  since its start p50 2.00 ms p99 8.00 ms" in head
    alone = drawn(ui.alone(snapshot, samples.TRACK, 120), 120)
    assert "capture->receive, newest object, ms, most 2.50" in alone
    assert "publish->receipt, p99 of each second, ms, most 1.00" in alone
    assert "(since its start, n 1234" in ui.line(snapshot)


def test_a_waterfall_has_a_bar_per_hop() -> None:
    text = drawn(hops(samples.snapshot(), samples.TRACK))
    first, second, whole, beside, _ = (line for line in text.splitlines() if "->" in line)
    assert first.index("█") < second.index("█")
    assert second.count("█") > 2 * first.count("█")
    assert "25 %" in first
    assert "75 %" in second
    assert whole.startswith("capture->receive")
    assert beside.startswith("publish->receipt")
    assert "n 1234, clock error 0.00 ms" in text


def test_no_hops_say_what_to_do() -> None:
    snapshot = samples.snapshot(**{samples.TRACK: samples.row(hops={})})
    assert "--metrics 127.0.0.1:0" in drawn(hops(snapshot, samples.TRACK), 120)
    silent = {**snapshot["processes"][0], "latency": None}
    snapshot["processes"] = [silent]
    assert "gets nothing now" in drawn(hops(snapshot, samples.TRACK), 120)
    assert "no track is chosen" in drawn(hops(snapshot, ""))


def test_panes_tell_of_lag_circuits_and_silence() -> None:
    text = drawn(panes(samples.snapshot()), 140)
    assert "slow lags" in text
    assert "(embedded)" in text
    assert "open" in text
    assert "consume 7 default" in text
    assert "GONE 12.0 s" in text
    assert "no answer since 21:45:03Z: no answer within 3 s" in text
    assert "router: stale-group 3; consume: slow-output 4" in text


def test_narrow_panes_are_lines() -> None:
    text = drawn(panes(samples.snapshot(), 60), 60)
    assert "up https://127.0.0.1:4433/wt 30.0/s" in text
    assert "up consume 7 30.0/s" in text
    assert "GONE 12.0 s publish 8" in text
    assert "stale-group 3" in text


def test_tracks_are_sorted_with_the_unknown_last() -> None:
    snapshot = samples.snapshot(a=samples.row(1.0), b=samples.row(5.0), c=samples.row(3.0),
                                d=samples.row(latency=None, receipt=None))  # fmt: skip
    names = [name for name, _ in ordered(snapshot, Look(sort="p99"))]
    assert names == ["b", "c", "a", "d"]
    names = [name for name, _ in ordered(snapshot, Look(sort="p99", reverse=True))]
    assert names == ["a", "c", "b", "d"]
    assert [name for name, _ in ordered(snapshot, Look(reverse=True))] == ["d", "c", "b", "a"]


def test_the_chosen_track_is_always_shown() -> None:
    snapshot = samples.snapshot(**many())
    for name in snapshot["tracks"]:
        text = drawn(tracks(snapshot, Look(chosen=name), 80, 6), 80)
        assert name in text
        assert len(text.splitlines()) == 6
    assert "track 30 of 30" in drawn(tracks(snapshot, Look(chosen="room/p29/video"), 80, 6), 80)


def test_a_filter_leaves_the_tracks_that_fit() -> None:
    snapshot = samples.snapshot(**many())
    look = Look(chosen="room/p03/video", needle="P1")
    assert len(ordered(snapshot, look)) == 10
    assert chosen(snapshot, look) == "room/p10/video"
    nothing = Look(needle="nobody")
    assert chosen(snapshot, nothing) == ""
    assert "no track with 'nobody'" in drawn(tracks(snapshot, nothing, 80, 6), 80)


def test_names_from_outside_steer_no_terminal() -> None:
    evil = "a\x1b[2J/b\n/c\x07"
    snapshot = samples.snapshot(**{evil: samples.row()})
    snapshot["routers"][0]["problem"] = "\x1b]0;x\x07"
    snapshot["drops"] = {"router": {"\x1b[31m": 1}}
    text = drawn(ui.once(snapshot, 120), 120) + ui.line(snapshot)
    text += drawn(ui.head(snapshot, Look(chosen=evil), 120), 120)
    assert "\x1b" not in text
    assert "\x07" not in text


def test_markup_in_names_stays_text() -> None:
    name = "[red]room[/red]/p/[bold]x"
    snapshot = samples.snapshot(**{name: samples.row()})
    snapshot["processes"][0]["room"] = "[/nothing]"
    text = drawn(ui.once(snapshot, 160), 160)
    assert name in text
    assert "[/nothing]" in text
