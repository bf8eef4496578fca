"""Refused orders, with reason and remedy; and what each of several symbols has of its own."""

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
from own_strategies import LARGER

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
    """Store what the market of the first symbol accepts."""
    steps = TradingRules(None, Decimal("0.00001"), Decimal("0.00001"), Decimal(5))
    with open_store(database, create=False) as store:
        save_trading_rules(store, "simulator", "BTC/USDT", steps, seen_ms=1)


def refusals(document: dict[str, Any]) -> list[str]:
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
def test_a_run_whose_every_order_is_refused_states_why_and_what_to_do(
    backtest_json: Run, flags: tuple[str, ...], reason: str, remedy: str
) -> None:
    document = backtest_json(*flags).document
    (note,) = refusals(document)
    count = document["metrics"]["refused_orders"]
    assert document["trades"] == []
    assert note.startswith(
        f"{count:,} orders refused by account or market, not filled, such as: {reason}"
    )
    assert note.endswith(remedy)


@pytest.mark.usefixtures("two_symbols")
def test_symbols_that_find_no_cash_get_the_advice_to_share_it(backtester: Run) -> None:
    document = backtester(*BOTH).document
    (note,) = refusals(document)
    assert document["metrics"]["refused_orders"] > 0
    assert note.startswith(f"{document['metrics']['refused_orders']:,} orders refused")
    assert note.endswith(
        "all in, an entry leaves no cash for another symbol: give each its part, as with --sizing "
        "equity_share=0.5"
    )
    assert refusals(backtester(*BOTH, "--sizing", "equity_share=0.5").document) == []


@pytest.mark.usefixtures("two_symbols", "market")
def test_what_symbols_have_otherwise_is_stated_of_each(backtester: Run, database: Path) -> None:
    days = SimulatedMarket(DEFAULT_SEED).get_candles("BTC/USDT", "1d", START, START + 100 * DAY)
    with open_store(database, create=False) as store:
        key = SeriesKey("simulator", "BTC/USDT", "1d")
        insert_columns(store, key, days, source="rest", seen_ms=0)
    Path("larger.py").write_text(LARGER, encoding="utf-8")
    printed = backtester(*BOTH, "--strategy", "larger.py").document["assumptions"]
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
