"""A stored price step coarser than the candles is replaced by the step that the candles show."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backfiller.main import app as backfiller
from onetape.cli.program import run_typer_app
from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.core.clock import format_utc
from onetape.core.trading_rules import TradingRules
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.market_data import save_trading_rules

Run = Callable[..., Any]
COARSE_AMOUNTS = (Decimal("0.001"), Decimal("0.001"), Decimal(5))
COARSE = TradingRules(Decimal(50), *COARSE_AMOUNTS)
WORDS = (
    "simulator: price step 50, amount step 0.001, minimum order 5; the candles show a finer price "
    "step than the stated one, so theirs holds: 0.01 in 2024-01 to 2024-04 (no candle shows amount "
    "step and minimum order of that time: the stated ones hold)"
)


@pytest.fixture
def coarse(database: Path) -> Path:
    """Return the database with a stored price step of 50, whose candles are in hundredths."""
    with open_store(database, create=False) as store:
        save_trading_rules(store, "simulator", "BTC/USDT", COARSE, seen_ms=1)
    return database


def test_a_stated_price_step_coarser_than_the_candles_is_printed_and_moves_no_price(
    backtest_json: Run, candles: Candles, coarse: Path
) -> None:
    document = backtest_json("--fee", "0").document
    opens = dict(zip(candles.timestamp.tolist(), candles.open.tolist(), strict=True))
    assert document["trades"]
    for trade in document["trades"]:
        assert trade["entry_price"] == opens[trade["entry_timestamp"]]
    assert document["assumptions"]["trading rules"] == WORDS


def test_the_text_of_a_run_states_the_step_of_the_candles_in_one_line(
    backtester: Run, coarse: Path
) -> None:
    ended = backtester("--exchange", "simulator", "--no-report")
    assert f"trading rules: {WORDS}" in ended.out.splitlines()


def test_an_optimization_uses_and_prints_the_price_step_that_the_candles_show(
    optimize: Run, backtester: Run, coarse: Path
) -> None:
    grid = ("--param", "period=7,14", "--out-of-sample", "0.5")
    stepped = optimize(*grid)
    assert stepped["trading_rules"] == WORDS
    fine = TradingRules(Decimal("0.01"), *COARSE_AMOUNTS)
    with open_store(coarse, create=False) as store:
        save_trading_rules(store, "simulator", "BTC/USDT", fine, seen_ms=2)
    assert optimize(*grid)["results"] == stepped["results"]
    text = backtester("optimize", "--exchange", "simulator", *grid).out
    assert "trading rules: simulator: price step 0.01" in text


def test_explain_rounds_levels_to_the_price_step_that_the_candles_show(
    backtester: Run, backtest_json: Run, coarse: Path
) -> None:
    flags = ("--fee", "0", "--take-profit", "0.01")
    trades = backtest_json(*flags).document["trades"]
    won = next(trade for trade in trades if trade["exit_kind"] == "target")
    assert won["exit_price"] % 50
    moment = format_utc(won["exit_timestamp"]).replace(" ", "T")
    explain = ("explain", "--exchange", "simulator", *flags, "--at", moment)
    story = json.loads(backtester(*explain, "--json").out)
    assert any(f"target at {won['exit_price']:,.2f}" in text for text in story["inside"])
    assert story["trading_rules"] == WORDS
    assert f"trading rules: {WORDS}" in backtester(*explain).out.splitlines()


def test_several_symbols_print_the_price_steps_of_each(
    backtest_json: Run, coarse: Path, candles: Candles
) -> None:
    with open_store(coarse, create=False) as store:
        columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
        rows = zip(candles.timestamp.tolist(), *(one.tolist() for one in columns), strict=True)
        key = SeriesKey("simulator", "ETH/USDT", "1h")
        insert_closed_rows(store, key, [Candle(*row) for row in rows], source="rest", seen_ms=0)
    document = backtest_json("--symbol", "BTC/USDT,ETH/USDT").document
    assert document["assumptions"]["trading rules"] == (
        f"BTC/USDT: {WORDS}; ETH/USDT: no price or amount rounding: simulator's trading rules are "
        "not stored yet; any backfiller run stores them"
    )


def test_the_recorded_sol_candles_give_the_return_of_their_own_prices(
    shared: Path, folder: Path, backtester: Run
) -> None:
    file = shared / "data/cases/price_step/binance_SOL-USDT_1h.csv"
    series = ("--exchange", "binance", "--symbol", "SOL/USDT", "--timeframe", "1h")
    assert run_typer_app(backfiller, "backfiller", ["import", str(file), *series]) == 0
    steps = TradingRules(Decimal("0.01"), *COARSE_AMOUNTS)
    with open_store(folder / "data/onetape.db", create=False) as store:
        save_trading_rules(store, "binance", "SOL/USDT", steps, seen_ms=1)
    ended = backtester(*series, "--strategy", "rsi", "--param", "period=7", "--json", "--no-report")
    document = ended.document
    assert document["metrics"]["total_return"] == pytest.approx(0.0895, abs=5e-5)
    assert "0.0001 in 2020-05 to 2020-09" in document["assumptions"]["trading rules"]
