"""`load_candles(download=True)` fetches from the exchange before it reads the store."""

from pathlib import Path
from typing import Any

import pytest

import onetape.backtest as ot
from onetape.core.errors import CandleGapError, DataError, ExchangeError, UsageError

#: The simulated market has an outage of one hour in this range.
OUTAGE = {"start": "2024-10-29", "end": "2024-10-31"}
FAILED = "the candles cannot be fetched: "


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_candles_are_fetched_and_read_with_the_rules_of_the_market(folder: Path) -> None:
    wanted: dict[str, Any] = {"exchange": "simulator", "start": "2024-01-10", "end": "2024-01-20"}
    with pytest.raises(DataError, match="does not exist"):
        ot.load_candles("BTC/USDT", "1h", **wanted)
    candles = ot.load_candles("BTC/USDT", "1h", **wanted, download=True)
    assert (folder / "data" / "simulator.db").exists()
    assert len(candles) == 240
    assert candles.trading_rules.startswith("simulator: price step 0.01")
    run = ot.backtest("sma_cross", candles, params={"fast": 5, "slow": 20})
    assert run.summary.candles == 240


def test_missing_candles_are_named_unless_gaps_are_allowed(
    folder: Path,
) -> None:
    del folder
    wanted: dict[str, Any] = {"exchange": "simulator", **OUTAGE}
    with pytest.raises(CandleGapError, match="1 candle missing from 2024-10-29 20:00 UTC"):
        ot.load_candles("BTC/USDT", "1h", **wanted, download=True)
    candles = ot.load_candles("BTC/USDT", "1h", **wanted, allow_gaps=True)
    assert (len(candles), candles.gaps) == (47, ((1_730_232_000, 1_730_235_600),))


def test_candles_that_cannot_be_fetched_raise_the_error_of_the_backfiller(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=f"^{FAILED}simulator has no spot market 'NONE/USDT'"):
        ot.load_candles("NONE/USDT", "1h", exchange="simulator", start="2024-01-10", download=True)
    monkeypatch.setenv("BACKFILLER__SIMULATOR_URL", "http://127.0.0.1:9")
    with pytest.raises(ExchangeError, match=f"^{FAILED}no simulator listens at"):
        ot.load_candles("BTC/USDT", "1h", exchange="simulator", start="2024-01-10", download=True)
    assert not (folder / "data" / "simulator.db").exists()
