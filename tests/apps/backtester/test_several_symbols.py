"""Several symbols on one account."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import asdict

from backtester.flags import load_backtest_from_flags
from backtester.rendering.result import TRADES_SHOWN, format_result
from onetape.backtest.backtest_runner import run_backtest
from onetape.backtest.records import TradeRecord
from onetape.backtest.storage.runs import load_run
from onetape.backtest.trade_records import (
    describe_entry_reason,
    describe_exit_reason,
    make_trade_records,
)
from onetape.core.candles import Candle, SeriesKey
from onetape.core.simulated import SimulatedSource
from onetape.engine import TIE_RULE
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_closed_rows
from onetape.store.database import Store, open_store
from onetape.store.simulated_source import ensure_simulated_source

Run = Callable[..., Any]
DAY = 86_400
START = 1_704_067_200
SIM = ("--exchange", "simulator")
BOTH = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
RSI = ("--param", "buy=40", "--param", "sell=60")


def put(store: Store, symbol: str, timeframe: str, days: int) -> None:
    key = SeriesKey("simulator", symbol, timeframe)
    bars = SimulatedMarket(DEFAULT_SEED).get_candles(symbol, timeframe, START, START + days * DAY)
    columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = [Candle(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]
    insert_closed_rows(store, key, rows, source="rest", seen_ms=0)


@pytest.fixture
def database(folder: Path) -> Path:
    """Return a database of two symbols."""
    path = folder / "data" / "simulator.db"
    path.parent.mkdir()
    with open_store(path, create=True) as store:
        put(store, "BTC/USDT", "1h", 20)
        put(store, "ETH/USDT", "1h", 20)
        ensure_simulated_source(store, SimulatedSource(DEFAULT_SEED, {}))
    return path


def test_two_symbols_share_one_account(database: Path, backtester: Run) -> None:
    document = backtester(*SIM, *BOTH, *RSI, "--max-open-trades", "1", "--json").document
    assert document["symbols"] == ["BTC/USDT", "ETH/USDT"]
    assert {trade["symbol"] for trade in document["trades"]} == {"BTC/USDT", "ETH/USDT"}
    gains = sum(trade["profit"] for trade in document["trades"])
    assert document["metrics"]["final_equity"] == pytest.approx(10_000 + gains)
    assert "max 1 open trade " in document["assumptions"]["symbols"]
    assert document["assumptions"]["ties"] == TIE_RULE


def test_with_one_slot_no_two_trades_are_open_at_once(database: Path, backtester: Run) -> None:
    trades = backtester(*SIM, *BOTH, *RSI, "--max-open-trades", "1", "--json").document["trades"]
    assert len(trades) > 2
    ends = [trade["exit_timestamp"] for trade in trades[:-1]]
    assert all(end <= after["entry_timestamp"] for end, after in zip(ends, trades[1:], strict=True))


def test_the_report_of_several_symbols_has_the_trades_of_all(
    database: Path, backtester: Run
) -> None:
    ended = backtester(*SIM, *BOTH, *RSI, "--report", "page.html", "--no-save")
    assert ended.code == 0, ended.err
    assert "BTC/USDT, ETH/USDT 1h" in ended.out
    assert "ETH/USDT" in Path("page.html").read_text(encoding="utf-8")


def test_the_report_has_a_chart_with_candles_and_indicators_for_each_symbol(
    database: Path, backtester: Run
) -> None:
    flags = ("--stop-loss", "0.02", "--report", "page.html", "--no-save")
    assert backtester(*SIM, *BOTH, *RSI, *flags).code == 0
    page = Path("page.html").read_text(encoding="utf-8")
    shown = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    (other,) = shown["others"]
    closes = (
        SimulatedMarket(DEFAULT_SEED).get_candles("ETH/USDT", "1h", START, START + 20 * DAY).close
    )
    assert other["symbol"] == "ETH/USDT"
    assert other["close"] == pytest.approx(closes[-len(other["close"]) :], rel=1e-6)
    assert other["panes"][0][0]["name"] == shown["panes"][0][0]["name"] == "RSI"
    assert other["panes"][0][0]["values"] != shown["panes"][0][0]["values"]
    assert set(shown["trades"]["market"]) == {0, 1}
    assert all(shown["trades"]["stop"])


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--symbol", "BTC/USDT", "--symbol", "BTC/USDT"), "--symbol BTC/USDT is given twice"),
        (("--symbol", "BTC/USDT", "--symbol", "ETH/BTC"), "one quote currency, found BTC, USDT"),
        ((*BOTH, "--max-open-trades", "0"), "--max-open-trades must be 1 or more, found 0"),
        (("--max-open-trades", "0"), "--max-open-trades must be 1 or more, found 0"),
    ],
)
def test_symbols_that_cannot_share_an_account_are_refused(
    database: Path, backtester: Run, flags: tuple[str, ...], text: str
) -> None:
    ended = backtester(*SIM, *flags)
    assert ended.code == 2
    assert text in ended.err


def test_a_note_about_one_symbol_has_its_name(database: Path, backtester: Run) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "DELETE FROM ohlcv_data WHERE symbol = 'ETH/USDT' AND timestamp = ?", (START + DAY,)
        )
    document = backtester(*SIM, *BOTH, *RSI, "--allow-gaps", "--json").document
    assert "this market is invented by the simulator" in document["notes"]
    gap = "1 candle missing, cause unknown (--allow-gaps)"
    assert f"ETH/USDT: {gap}" in document["notes"]
    assert len(document["notes"]) == len(set(document["notes"]))


def test_the_trades_of_several_symbols_fit_a_terminal_of_80_columns(
    database: Path, backtester: Run
) -> None:
    assert backtester(*SIM, *BOTH, *RSI, "--trailing-stop", "0.02", "--no-report").code == 0
    run = load_run()
    trades = run.read_trade_records()
    assert len(trades) >= TRADES_SHOWN
    wide, narrow = (
        _trade_lines(format_result(run.summary, trades, width=width)) for width in (None, 80)
    )
    assert max(map(len, wide)) > 80 >= max(map(len, narrow))
    # Nothing is cut off: two lines have what one had.
    pairs = zip(narrow[::2], narrow[1::2], strict=True)
    listed = [sorted(f"{entry} {left}".split()) for entry, left in pairs]
    assert listed == [sorted(line.split()) for line in wide]


def _trade_lines(text: str) -> list[str]:
    """Return the table of trades, its head included."""
    lines = text.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("symbol  "))
    table = lines[start : lines.index("", start)]
    return [line for line in table if not line.startswith("(")]


def test_trades_of_several_symbols_equal_the_engines_by_time_to_the_last_bit(
    database: Path,
) -> None:
    del database
    flags = (*SIM, *BOTH, *RSI, "--stop-loss", "0.02")
    backtest = run_backtest(load_backtest_from_flags(flags, "explain").config)
    wanted = [
        convert(
            asdict(trade)
            | {
                "entry_reason": describe_entry_reason(run, trade),
                "exit_reason": describe_exit_reason(run, trade),
            },
            TradeRecord,
        )
        for run in backtest.runs
        for trade in run.result.trades
    ]
    wanted.sort(key=lambda trade: trade.entry_timestamp)
    rows = make_trade_records(backtest)
    assert len({trade.symbol for trade in wanted}) == 2
    assert (list(rows), len(rows)) == (wanted, len(wanted))
    for start, stop in ((0, 1), (1, 3), (-2, None), (2, 2), (0, 10_000)):
        assert rows[start:stop] == wanted[start:stop]
    assert rows[-1] == wanted[-1]
