"""Refused orders are reported with reason and remedy; assumptions of several symbols by symbol."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candles, SeriesKey
from onetape.core.trading_rules import TradingRules
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_columns
from onetape.store.database import open_store
from onetape.store.market_data import save_trading_rules
from strategy_sources import HIGHER_TIMEFRAME_STRATEGY

Run = Callable[..., Any]
START, DAY = 1_704_067_200, 86_400
BOTH = ("--exchange", "simulator", "--symbol", "ETH/USDT", "--symbol", "BTC/USDT", "--json")


@pytest.fixture
def two_symbols(database: Path) -> None:
    """Store a second symbol."""
    market = SimulatedMarket(DEFAULT_SEED)
    bars: Candles = market.get_candles("ETH/USDT", "1h", START, START + 120 * DAY)
    with open_store(database, create=False) as store:
        key = SeriesKey("simulator", "ETH/USDT", "1h")
        insert_columns(store, key, bars, source="rest", seen_ms=0)


@pytest.fixture
def market(database: Path) -> None:
    """Store trading rules of the first symbol."""
    steps = TradingRules(None, Decimal("0.00001"), Decimal("0.00001"), Decimal(5))
    with open_store(database, create=False) as store:
        save_trading_rules(store, "simulator", "BTC/USDT", steps, seen_ms=1)


def list_refusals(document: dict[str, Any]) -> list[str]:
    return [text for text in document["notes"] if "refused" in text]


@pytest.mark.usefixtures("market")
@pytest.mark.parametrize(
    ("flags", "reason", "remedy"),
    [
        (
            ("--cash", "3"),
            "buy value 2.",
            "is below the market's minimum value 5; more --cash would fill them; --trading-rules "
            "none has no minimum",
        ),
        (
            ("--sizing", "quote_amount=20000"),
            "cash 10000 is less than the order of 20000",
            "; more --cash or a smaller --sizing would fill them",
        ),
    ],
)
def test_a_run_of_refused_orders_alone_states_the_reason_and_advice(
    backtest_json: Run, flags: tuple[str, ...], reason: str, remedy: str
) -> None:
    document = backtest_json(*flags).document
    (note,) = list_refusals(document)
    count = document["metrics"]["refused_orders"]
    assert document["trades"] == []
    assert note.startswith(
        f"{count:,} orders refused by account or market, not filled, such as: {reason}"
    )
    assert note.endswith(remedy)


@pytest.mark.usefixtures("two_symbols")
def test_refusals_for_lack_of_cash_advise_a_smaller_sizing(backtester: Run) -> None:
    document = backtester(*BOTH).document
    (note,) = list_refusals(document)
    assert document["metrics"]["refused_orders"] > 0
    assert note.startswith(f"{document['metrics']['refused_orders']:,} orders refused")
    assert note.endswith(
        "all in, an entry leaves no cash for another symbol: give each its part, as with --sizing "
        "equity_share=0.5"
    )
    assert list_refusals(backtester(*BOTH, "--sizing", "equity_share=0.5").document) == []


@pytest.mark.usefixtures("two_symbols", "market")
def test_assumptions_that_differ_by_symbol_are_printed_for_each_symbol(
    backtester: Run, database: Path
) -> None:
    days = SimulatedMarket(DEFAULT_SEED).get_candles("BTC/USDT", "1d", START, START + 100 * DAY)
    with open_store(database, create=False) as store:
        key = SeriesKey("simulator", "BTC/USDT", "1d")
        insert_columns(store, key, days, source="rest", seen_ms=0)
    Path("higher.py").write_text(HIGHER_TIMEFRAME_STRATEGY, encoding="utf-8")
    printed = backtester(*BOTH, "--strategy", "higher.py").document["assumptions"]
    assert printed["trading rules"] == (
        "ETH/USDT: no price or amount rounding: simulator's trading rules are not stored yet; any "
        "backfiller run stores them; BTC/USDT: simulator: price step any, amount step 0.00001, "
        "minimum order 5"
    )
    assert printed["1d candles"] == (
        "ETH/USDT: 0 stored, 120 built from a lower timeframe; each is used once it has closed; "
        "BTC/USDT: 100 stored, 20 built from a lower timeframe; each is used once it has closed"
    )
    assert printed["fees"] == "0.100%, in quote currency"
