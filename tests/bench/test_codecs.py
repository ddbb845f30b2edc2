from __future__ import annotations

import pytest

from wtp.bench.codecs import MAX_PSNR_DB, CodecRow, measure_codecs, psnr_db
from wtp.errors import UsageError
from wtp.media import encoders
from wtp.media.codecs import CODECS


def test_every_codec_gets_a_row_in_the_order_asked_for() -> None:
    names = ["jpeg", *(name for name in CODECS if name != "jpeg")]
    rows = measure_codecs(names, (160, 120), 30, 20, bitrate_bps=300_000, gop=10)
    assert [row.codec for row in rows] == names
    for row in rows:
        assert row.problem == ""
        assert row.encoder in CODECS[row.codec].software + CODECS[row.codec].hardware
        assert row.pictures == 20
        for low, high in (
            (row.encode_p50_ms, row.encode_p99_ms),
            (row.decode_p50_ms, row.decode_p99_ms),
        ):
            assert low is not None
            assert high is not None
            assert 0 < low <= high
        assert row.median_bytes
        assert row.key_bytes
        assert row.bitrate_bps
        assert row.psnr_db is not None
        assert 20 < row.psnr_db < 60
    sizes = {row.codec: row.median_bytes or 0 for row in rows}
    assert sizes["jpeg"] == max(sizes.values())


def test_more_bits_come_nearer_to_the_original() -> None:
    rates = (100_000, 1_000_000)
    few, many = (measure_codecs(["h264"], (160, 120), 30, 15, bitrate_bps=r)[0] for r in rates)
    assert (few.psnr_db or 0) + 1 < (many.psnr_db or 0)
    assert (few.bitrate_bps or 0) * 3 < (many.bitrate_bps or 0)


def test_what_does_not_work_here_has_a_row_that_says_why() -> None:
    encoders.problem.cache_clear()
    rows = measure_codecs(["h264"], (160, 120), 30, 1, encoder="libopenh264")
    assert rows == [CodecRow("h264", problem=rows[0].problem)]
    assert "libopenh264" in rows[0].problem
    with pytest.raises(UsageError):
        measure_codecs(["h264"], (161, 120), 30, 1)


def test_the_signal_to_noise_ratio() -> None:
    assert psnr_db(0, 10) == MAX_PSNR_DB
    assert psnr_db(255**2 * 10, 10) == 0
    assert psnr_db(10, 10) == pytest.approx(48.13, abs=0.01)
    assert psnr_db(1, 0) is None
