"""Prices are printed with the digits of their market, money with those of its currency."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from onetape.backtest.storage.runs import load_run
from onetape.core.candles import Candle, SeriesKey
from onetape.core.trading_rules import TradingRules
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.market_data import save_trading_rules

Run = Callable[..., Any]
START, HOUR = 1_704_067_200, 3_600
#: Symbol, a price, and the decimals of its prices.
MARKETS = {"EUR/USDT": (1.0801, 4), "BRD/BTC": (0.00000447, 8), "PEPE/FDUSD": (3.108e-7, 10)}
WAVES = ("--strategy", "sma_cross", "--param", "fast=2", "--param", "slow=5")


@pytest.fixture
def database(folder: Path) -> Path:
    """Return a file with hours of each market, of prices with all their decimals."""
    path = folder / "data" / "onetape.db"
    path.parent.mkdir()
    with open_store(path, create=True) as store:
        for symbol, (price, decimals) in MARKETS.items():
            waves = price * (1 + 0.05 * np.sin(np.arange(400) / 6))
            prices = [float(f"{one:.{decimals}f}") for one in waves.tolist()]
            rows = [
                Candle(START + hour * HOUR, one, one, one, one, 1e9)
                for hour, one in enumerate(prices)
            ]
            key = SeriesKey("binance", symbol, "1h")
            insert_closed_rows(store, key, rows, source="import", seen_ms=0)
    return path


def make_symbol_flags(symbol: str) -> tuple[str, ...]:
    return ("--exchange", "binance", "--symbol", symbol, "--timeframe", "1h", *WAVES)


def count_price_decimals(text: str) -> set[int]:
    """Return the numbers of decimals that the prices of a table of trades have."""
    rows = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d +(\S+)  .*\d\d:\d\d +(\S+) ", text, re.MULTILINE)
    assert rows
    return {len(price.partition(".")[2]) for row in rows for price in row}


@pytest.mark.parametrize("symbol", MARKETS)
def test_a_run_shows_prices_with_all_digits_of_the_candles(
    backtester: Run, database: Path, symbol: str
) -> None:
    del database
    flags = ("--cash", "0.5") if symbol == "BRD/BTC" else ()
    text = backtester(*make_symbol_flags(symbol), "--no-report", *flags).out
    assert count_price_decimals(text) == {MARKETS[symbol][1]}
    assert count_price_decimals(backtester("show").out) == {MARKETS[symbol][1]}


@pytest.mark.parametrize("symbol", MARKETS)
def test_explain_shows_prices_with_all_digits_of_the_candles(
    backtester: Run, database: Path, symbol: str
) -> None:
    del database
    out = backtester("explain", *make_symbol_flags(symbol), "--at", "2024-01-05T00:00").out
    prices = re.findall(r"(?:open|high|low|close) (\d[\d,.]*\d)", out)
    assert {len(price.partition(".")[2]) for price in prices} == {MARKETS[symbol][1]}
    assert not re.search(r"\de-\d", out)


def test_an_account_in_btc_shows_eight_digits_of_money(backtester: Run, database: Path) -> None:
    del database
    text = backtester(*make_symbol_flags("BRD/BTC"), "--no-report", "--cash", "0.5").out
    for label in ("final equity, BTC", "fees, BTC", "expectancy, BTC"):
        assert re.search(rf"^{label} +-?\d+\.\d{{8}}", text, re.MULTILINE), text
    assert "account: 0.50000000 BTC" in text
    assert re.search(r"  [+-]0\.\d{8}  [+-]\d+\.\d\d%", text)
    # Nothing that the account earned or paid reads as zero.
    assert not re.search(r"^(fees|expectancy), BTC +-?0\.0+$", text, re.MULTILINE)


def test_an_optimization_in_btc_shows_eight_digits_of_money(
    backtester: Run, database: Path
) -> None:
    del database
    flags = ("--param", "slow=5,9", "--rank", "fees", "--cash", "0.5", "--min-trades", "1")
    text = backtester("optimize", *make_symbol_flags("BRD/BTC")[:-2], *flags).out
    assert re.search(r"best: fees 0\.\d{8} in-sample, 0\.\d{8} out-of-sample", text), text
    (page,) = Path("data/optimizations").glob("*/optimization.html")
    assert '"money_decimals":8' in page.read_text(encoding="utf-8")


def test_the_stored_price_step_decides_where_prices_have_fewer_digits(
    backtester: Run, database: Path
) -> None:
    steps = TradingRules(Decimal("0.000001"), Decimal("0.1"), Decimal(0), Decimal(0))
    with open_store(database, create=False) as store:
        save_trading_rules(store, "binance", "EUR/USDT", steps, seen_ms=1)
    text = backtester(*make_symbol_flags("EUR/USDT"), "--no-report").out
    assert count_price_decimals(text) == {6}
    assert re.search(r"  [\d,]+\.\d +[+-]", text), "amounts have the digits of the amount step"


def test_a_run_of_a_version_without_digits_shows_those_of_its_trades(
    backtester: Run, database: Path
) -> None:
    del database
    assert backtester(*make_symbol_flags("EUR/USDT"), "--no-report").code == 0
    run = load_run()
    summary = replace(run.summary, digits={})
    assert summary.get_digits("EUR/USDT", run.read_trade_records()).price == 4


def test_the_report_shows_the_digits_of_its_market(backtester: Run, database: Path) -> None:
    del database
    backtester(*make_symbol_flags("BRD/BTC"), "--report", "page.html", "--cash", "0.5")
    page = Path("page.html").read_text(encoding="utf-8")
    assert '"price_decimals":8' in page
    assert '"profit_decimals":8' in page
    assert re.search(r"fees 0\.\d{8} BTC", page)


def test_recorded_eur_candles_are_shown_with_four_digits(
    shared: Path, folder: Path, backtester: Run
) -> None:
    from backfiller.main import app
    from onetape.cli.program import run_typer_app

    del folder
    file = shared / "data/cases/shown_prices/binance_EUR-USDT_1h.csv"
    key = ("--exchange", "binance", "--symbol", "EUR/USDT", "--timeframe", "1h")
    assert run_typer_app(app, "backfiller", ["import", str(file), *key]) == 0
    text = backtester(*key, *WAVES, "--trading-rules", "none", "--fee", "0", "--no-report").out
    assert count_price_decimals(text) == {4}
