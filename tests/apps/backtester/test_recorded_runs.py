"""The four recorded long-only runs, from the tables to the printed document."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.gaps import read_gaps, set_gap

Run = Callable[..., Any]
#: The flags of each recorded run.
RECORDED = {
    "btc_1d_sma_20_50": "--strategy sma_cross --param fast=20 --param slow=50",
    "eth_1d_rsi14_30_70": "--strategy rsi --param entry=cross_up",
    "btc_1h_sma_50_200": "--strategy sma_cross --param fast=50 --param slow=200",
    "eth_1h_macd": "--strategy macd",
}


def assert_equals_recorded(document: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare trade for trade, and to the cent."""
    closed = [trade for trade in document["trades"] if not trade["open_at_end"]]
    assert len(closed) == expected["closed_trades"]
    assert round(document["metrics"]["final_equity"], 2) == round(expected["final_equity"], 2)
    names = ("entry_timestamp", "entry_price", "exit_timestamp", "exit_price")
    assert [[trade[name] for name in names] for trade in closed] == [
        trade[:4] for trade in expected["trades"]
    ]
    ratios = [trade["profit_ratio"] for trade in closed]
    assert ratios == pytest.approx([trade[4] for trade in expected["trades"]], abs=2e-12)
    left = [
        {"entry_time": trade["entry_timestamp"], "entry_price": trade["entry_price"]}
        for trade in document["trades"]
        if trade["open_at_end"]
    ]
    assert left == ([expected["open_at_end"]] if expected["open_at_end"] else [])
    percents = [
        document["metrics"][name] * 100
        for name in ("total_return", "max_drawdown", "market_change")
    ]
    stated = [expected[name] for name in ("return_pct", "max_drawdown_pct", "buy_hold_pct")]
    assert percents == pytest.approx(stated)
    assert document["metrics"]["wins"] == expected["wins"]
    assert document["candles"] == expected["rows"]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_run_equals_the_reference_tables_to_the_cent(
    backtester: Run, shared: Path, name: str
) -> None:
    runs = json.loads((shared / "data/reference/backtests_long_only.json").read_text())["runs"]
    expected = next(run for run in runs if run["name"] == name)
    coin, timeframe, _ = name.split("_", maxsplit=2)
    key = SeriesKey("binance", f"{coin.upper()}/USDT", timeframe)
    with gzip.open(shared / "data" / expected["candles"], "rt") as file:
        rows = [(int(row[0]), *map(float, row[1:])) for row in list(csv.reader(file))[1:]]
    with open_store(Path("data/onetape.db"), create=True) as store:
        insert_closed_rows(store, key, [Candle(*row) for row in rows], source="import", seen_ms=1)
        # The recorded runs go on over the outages of the exchange: such gaps are accepted.
        for gap in read_gaps(store, key):
            set_gap(
                *(store, key, gap.start, gap.end),
                state="accepted",
                requested_ms=1,
                reason="outage",
            )
    document = backtester(
        *("--symbol", key.symbol, "--timeframe", timeframe, "--trading-rules", "none", "--json"),
        *RECORDED[name].split(),
    ).document
    assert_equals_recorded(document, expected)
    assert document["assumptions"]["trading rules"].startswith("none: ")
    assert document["unexplained_gaps"] == 0
