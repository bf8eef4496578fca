"""`backtester explain`: signal, order, fill and levels of a candle equal the engine's trades."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtester.flags import load_backtest_from_flags
from onetape.backtest.backtest_runner import run_backtest
from onetape.backtest.explain import CandleExplanation, explain
from onetape.backtest.models import Backtest
from onetape.backtest.storage.rerun import rerun
from onetape.backtest.storage.runs import RUNS_FOLDER, load_run
from onetape.backtest.trade_levels import compute_trade_levels
from onetape.core.candles import Candle, Candles, SeriesKey
from onetape.core.clock import format_utc
from onetape.engine import compute_levels
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_closed_rows
from onetape.store.database import Store, open_store

Run = Callable[..., Any]
DAY, START = 86_400, 1_704_067_200
LEVELS = ("--stop-loss", "0.02", "--trailing-stop", "0.03", "--take-profit", "0.025")
GUARD = (
    "--stoploss-guard",
    "trade_limit=1,lookback_period_candles=9,stop_duration_candles=60,required_profit=0.5",
)


@pytest.fixture
def backtest_with(database: Path) -> Callable[..., Backtest]:
    """Return a function that runs a backtest of the simulator's candles."""
    del database

    def run(*flags: str) -> Backtest:
        return run_backtest(
            load_backtest_from_flags(("--exchange", "simulator", *flags), "explain").config
        )

    return run


def put(store: Store, key: SeriesKey, bars: Candles) -> None:
    columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = [Candle(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]
    insert_closed_rows(store, key, rows, source="rest", seen_ms=0)


def explain_candles(backtest: Backtest, number: int = 0) -> list[CandleExplanation]:
    moments = backtest.runs[number].result.candles.timestamp.tolist()
    return [explain(backtest, at)[number] for at in moments]


@pytest.mark.parametrize(
    "flags",
    [
        (),
        LEVELS,
        (*LEVELS, "--cooldown", "30"),
        ("--sizing", "quote_amount=9500"),
        ("--trading-hours", "20:00-08:00", "--trading-timezone", "America/New_York"),
        (*LEVELS, *GUARD),
    ],
)
def test_orders_are_shown_on_exactly_the_candles_that_led_to_a_trade(
    backtest_with: Callable[..., Backtest], flags: tuple[str, ...]
) -> None:
    backtest = backtest_with("--strategy", "sma_cross", *flags)
    shown = explain_candles(backtest)
    trades = backtest.first.result.trades
    assert len(trades) > 1
    buys = [bar for bar, story in enumerate(shown) if story.order.startswith("market buy")]
    assert buys == [trade.entry_index - 1 for trade in trades]
    sells = [bar for bar, story in enumerate(shown) if story.order.startswith("market sell")]
    assert sells == [
        trade.exit_index - 1
        for trade in trades
        if trade.exit_index is not None and trade.exit_kind == "signal"
    ]
    inside = [text for story in shown for text in story.inside]
    assert sum(text.startswith("bought ") for text in inside) == len(trades)
    assert sum(text.startswith("sold ") for text in inside) == len(backtest.first.result.sells)


@pytest.mark.parametrize("source", ["none", "exchange"])
def test_a_fee_in_coins_reduces_the_held_and_sold_amounts(
    backtest_with: Callable[..., Backtest], source: str
) -> None:
    flags = ("--strategy", "sma_cross", "--fee-currency", "base", "--fee", "0.01")
    backtest = backtest_with(*flags, "--trading-rules", source)
    result = backtest.first.result
    buy, sell, trade = result.buys[0], result.sells[0], result.trades[0]
    bars = result.candles.timestamp
    bought, held, sold = (
        explain(backtest, int(bars[bar]))[0]
        for bar in (trade.entry_index, trade.entry_index + 1, trade.exit_index or 0)
    )
    kept = f"{buy.amount * 0.99:,.8g}"
    assert bought.inside[0].endswith(f"at the open, {kept} after the fee")
    assert held.position.startswith(f"{kept} at ")
    assert f"sold {sell.amount:,.8g} at " in sold.inside[0]
    assert sell.amount <= buy.base_change < buy.amount


def test_a_position_is_shown_at_exactly_the_closes_that_count_as_exposure(
    backtest_with: Callable[..., Backtest],
) -> None:
    backtest = backtest_with("--strategy", "sma_cross", *LEVELS)
    held = [story.position != "none at the close" for story in explain_candles(backtest)]
    assert np.mean(held) == pytest.approx(backtest.first.result.exposure)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "none (signal was HOLD)"),
        ((), "none (signal was BUY, but a position was open)"),
        ((), "none (signal was SELL, but no position was open)"),
        (LEVELS, "none (signal was BUY, but the same run of BUYs led to the entry of "),
        ((*LEVELS, "--cooldown", "60"), "none (within the cooldown of 60 candles after an exit)"),
        (("--sizing", "quote_amount=99999"), "refused: cash 10000 is less"),
        (
            ("--trading-hours", "08:00-09:00"),
            "none (signal was BUY, but the candle of 2024-",
        ),
        (
            (*LEVELS, *GUARD),
            "none (signal was BUY, but stoploss guard: ",
        ),
    ],
)
def test_the_reason_why_a_signal_led_to_no_order_is_printed(
    backtest_with: Callable[..., Backtest], flags: tuple[str, ...], words: str
) -> None:
    shown = {story.order for story in explain_candles(backtest_with(*flags))}
    assert any(text.startswith(words) for text in shown), shown


def test_an_order_on_the_last_candle_is_shown_as_waiting_for_the_next_open(
    backtest_with: Callable[..., Backtest],
) -> None:
    whole = backtest_with("--strategy", "sma_cross")
    entry = whole.first.result.trades[2].entry_timestamp
    cut = backtest_with("--strategy", "sma_cross", "--to", format_utc(entry))
    story = explain(cut, entry - 1)[0]
    assert story.signal == "BUY"
    assert story.order.startswith("none (the range ends at this candle")


def test_levels_are_those_of_the_engines_rule_bar_by_bar(
    backtest_with: Callable[..., Backtest],
) -> None:
    result = backtest_with("--strategy", "sma_cross", *LEVELS).first.result
    candles, exits = result.candles, result.rules.exits
    compared = 0
    for trade, buy, levels in zip(
        result.trades, result.buys, compute_trade_levels(result), strict=True
    ):
        inside = trade.exit_kind in ("stop_loss", "trailing_stop", "target")
        end = len(candles) if trade.exit_index is None else trade.exit_index + inside
        highest = buy.before_slippage
        for bar in range(trade.entry_index, end):
            due = compute_levels(exits, buy.before_slippage, highest, bar - trade.entry_index, 0.0)
            for steps, level in ((levels.stop, due.stop), (levels.target, due.target)):
                assert [price for at, price in steps if at <= bar][-1] == level
            highest = max(highest, float(candles.high[bar]))
            compared += 1
    assert compared > 300


def test_an_exit_at_a_stop_fills_at_the_stop_or_at_a_lower_open(
    backtest_with: Callable[..., Backtest],
) -> None:
    result = backtest_with("--strategy", "sma_cross", *LEVELS).first.result
    kinds = {"stop_loss", "trailing_stop"}
    checked = 0
    for trade, levels in zip(result.trades, compute_trade_levels(result), strict=True):
        if trade.exit_kind in kinds and trade.exit_index is not None:
            stop = levels.stop[-1][1]
            assert trade.exit_price == pytest.approx(
                min(stop, float(result.candles.open[trade.exit_index]))
            )
            checked += 1
    assert checked > 3


def test_the_text_shows_candle_indicators_signal_and_fill(backtester: Run, database: Path) -> None:
    del database
    flags = ("--exchange", "simulator", "--strategy", "sma_cross")
    trade = backtester(*flags, "--json").document["trades"][3]
    before = format_utc(trade["entry_timestamp"] - 1)
    lines = backtester("explain", "--at", before, *flags).out.splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == [
        *("candle", "indicators", "position", "signal", "order")
    ]
    assert lines[4] == "signal:     BUY (on a cross up)"
    assert f"at {trade['entry_price']:,.2f} at the next open" in lines[5]


def test_a_saved_run_is_explained_over_its_own_range(backtester: Run, database: Path) -> None:
    flags = ("--exchange", "simulator", "--strategy", "sma_cross", "--no-report")
    assert backtester(*flags, "--to", "2024-03-01").code == 0
    at = ("explain", "--at", "2024-02-10T07:30", "--run", "last", "--json")
    document = backtester(*at).document
    assert document["changed_since"] == []
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute("UPDATE ohlcv_data SET volume = volume + 1 WHERE timestamp = 1704067200")
    assert backtester(*at).document["changed_since"] == [
        "the candles (warm-up included) changed since the run was made"
    ]
    late = backtester("explain", "--at", "2024-03-01T00:30", "--run", "last")
    assert (late.code, late.out) == (4, "")
    assert "the run has no candle there (it has 2024-01-01 00:00 to 2024-03-01 00:00" in late.err


def test_a_change_of_a_file_that_the_strategy_imports_is_reported(
    backtester: Run, database: Path, folder: Path
) -> None:
    del database
    assert backtester("new-strategy", "mine").code == 0
    path, tools = folder / "user/strategies/mine.py", folder / "user/strategies/my_tools.py"
    path.write_text("import my_tools\n" + path.read_text())
    tools.write_text("N = 1\n")
    assert backtester("--exchange", "simulator", "--strategy", "mine", "--no-report").code == 0
    at = ("explain", "--at", "2024-02-10T07:30", "--run", "last", "--json")
    assert backtester(*at).document["changed_since"] == []
    tools.write_text("N = 2\n")
    assert backtester(*at).document["changed_since"] == [
        "the strategy's code changed since the run was made"
    ]


def test_a_saved_run_without_a_given_end_is_explained_up_to_its_original_end(
    backtester: Run, database: Path
) -> None:
    assert backtester("--exchange", "simulator", "--no-report").code == 0
    run, end = load_run(), START + 120 * DAY
    assert run.manifest.settings["to"] is None
    with open_store(database, create=False) as store:
        later = SimulatedMarket(DEFAULT_SEED).get_candles("BTC/USDT", "1h", end, end + 3 * DAY)
        put(store, SeriesKey("simulator", "BTC/USDT", "1h"), later)
    backtest, changes = rerun(run)
    assert (backtest.first.window.end, changes) == (end, [])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--at", "soon"), 2, "--at 'soon' was not understood"),
        (("--at", "2024-02-01", "--run", "last", "--cash", "5"), 2, "leave out --cash"),
        (("--at", "2024-02-01", "--cahs", "5"), 2, "No such option: --cahs"),
        (("--at", "2024-02-01", "list"), 2, "unexpected extra argument"),
        (("--at", "1999-02-01", "--exchange", "simulator"), 4, "has no candle there"),
        (("--at", "2024-02-01", "--run", "zz"), 2, "no run is saved in"),
    ],
)
def test_invalid_arguments_print_one_line(
    backtester: Run, database: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    del database
    ended = backtester("explain", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert words in ended.err
    assert not RUNS_FOLDER.exists()


def test_an_entry_without_a_free_slot_is_reported(folder: Path, backtester: Run) -> None:
    path = folder / "data" / "simulator.db"
    path.parent.mkdir()
    with open_store(path, create=True) as store:
        for symbol in ("BTC/USDT", "ETH/USDT"):
            bars = SimulatedMarket(DEFAULT_SEED).get_candles(symbol, "1h", START, START + 20 * DAY)
            put(store, SeriesKey("simulator", symbol, "1h"), bars)
    flags = (
        *("--exchange", "simulator", "--symbol", "BTC/USDT", "--symbol", "ETH/USDT"),
        *("--max-open-trades", "1", "--param", "buy=40", "--param", "sell=60"),
    )
    ended = backtester(*flags, "--no-report")
    assert (ended.code, ended.err) == (0, "")
    run = load_run()
    backtest, changes = rerun(run)
    assert changes == []
    shown = [story.order for number in range(2) for story in explain_candles(backtest, number)]
    assert backtest.portfolio.skipped_entries > 0
    full = [text for text in shown if text == "none (all slots of the account were full)"]
    assert len(full) >= backtest.portfolio.skipped_entries
    bought = [text for text in shown if text.startswith("market buy")]
    assert len(bought) == len(run.read_trade_records())
    at = ("explain", "--run", "last", "--at", "2024-01-05T07:00")
    assert backtester(*at).out.count("candle 2024-01-05 07:00") == 2
    (other,) = backtester(*at, "--json").document["other_symbols"]
    assert other["series"] == "simulator ETH/USDT 1h"
