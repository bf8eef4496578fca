"""Origin of the simulator's candles of a series: recorded or invented."""

from collections.abc import Mapping

import pytest

from onetape.core.simulated import ORIGIN_TEXTS, CandleRecording, Origin, get_origin

HOURS = {"BTC/USDT": CandleRecording("1h", "d")}


@pytest.mark.parametrize(
    ("recordings", "symbol", "timeframe", "origin"),
    [
        (None, "BTC/USDT", "1h", "unknown"),
        ({}, "BTC/USDT", "1h", "invented"),
        (HOURS, "BTC/USDT", "1h", "recorded"),
        (HOURS, "BTC/USDT", "4h", "recorded"),
        (HOURS, "BTC/USDT", "1w", "recorded"),
        (HOURS, "BTC/USDT", "1M", "recorded"),
        (HOURS, "BTC/USDT", "15m", "inside recorded"),
        (HOURS, "BTC/USDT", "1m", "inside recorded"),
        (HOURS, "ETH/USDT", "1h", "unknown"),
        ({"BTC/USDT": CandleRecording("2h", "d")}, "BTC/USDT", "3h", "inside recorded"),
    ],
)
def test_replayed_candles_shorter_than_the_recorded_ones_count_as_invented(
    recordings: Mapping[str, CandleRecording] | None, symbol: str, timeframe: str, origin: Origin
) -> None:
    assert get_origin(recordings, symbol, timeframe) == origin


def test_only_sources_that_may_be_invented_are_called_invented() -> None:
    assert [kind for kind, words in ORIGIN_TEXTS.items() if "invented" in words] == [
        "invented", "inside recorded", "unknown"
    ]  # fmt: skip
