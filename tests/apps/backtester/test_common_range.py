"""Several symbols whose stored candles begin and end at different times: one range for all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.backtest.storage.runs import load_run
from onetape.core.candles import Candle, SeriesKey
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.gaps import set_gap

Run = Callable[..., Any]
HOUR, DAY = 3_600, 86_400
START = 1_704_067_200
SIM = ("--exchange", "simulator", "--param", "buy=40", "--param", "sell=60")
#: First and last day of each symbol, in days after 2024-01-01.
DAYS = {"BTC/USDT": (4, 50), "ETH/USDT": (0, 70)}
COMMON = (START + 4 * DAY, START + 50 * DAY)
ORDERS = (("BTC/USDT", "ETH/USDT"), ("ETH/USDT", "BTC/USDT"))
HALF = ("--sizing", "equity_share=0.5")


@pytest.fixture
def database(folder: Path) -> Path:
    """Return a database of two symbols that begin and end at different times."""
    path = folder / "data" / "simulator.db"
    path.parent.mkdir()
    with open_store(path, create=True) as store:
        for symbol, (first, last) in DAYS.items():
            bars = SimulatedMarket(DEFAULT_SEED).get_candles(
                symbol, "1h", START + first * DAY, START + last * DAY
            )
            columns = (bars.timestamp, bars.open, bars.high, bars.low, bars.close, bars.volume)
            rows = [Candle(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]
            key = SeriesKey("simulator", symbol, "1h")
            insert_closed_rows(store, key, rows, source="rest", seen_ms=0)
    return path


def make_symbol_flags(symbols: tuple[str, ...]) -> list[str]:
    return [word for symbol in symbols for word in ("--symbol", symbol)]


def remove_candle(database: Path, symbol: str, bar: int) -> None:
    """Make a candle of the common range one that the exchange itself does not have."""
    key, moment = SeriesKey("simulator", symbol, "1h"), COMMON[0] + bar * HOUR
    with open_store(database, create=False) as store:
        with store.write() as connection:
            connection.execute(
                "DELETE FROM ohlcv_data WHERE symbol = ? AND timestamp = ?", (symbol, moment)
            )
        set_gap(store, key, moment, moment + HOUR, state="none at exchange", requested_ms=1)


def read_page(path: Path) -> tuple[str, dict[str, Any]]:
    """Return a report, and the data that its script reads."""
    page = path.read_text(encoding="utf-8")
    found = re.search('<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return page, json.loads(found[1])


def unpack_times(packed: dict[str, Any]) -> list[int]:
    steps = [step for count, step in packed["runs"] for _ in range(count)]
    return [packed["start"] + sum(steps[:index]) for index in range(len(steps) + 1)]


def find_monthly_cells(page: str) -> list[str]:
    (row,) = re.findall(r'<tr><th scope="row">2024</th>(.*?)</tr>', page)
    return [cell for cell in re.findall(r"<td[^>]*>([^<]*)</td>", row) if cell]


@pytest.mark.parametrize("outages", [(), (("BTC/USDT", 100),), (("BTC/USDT", 9), ("ETH/USDT", 7))])
@pytest.mark.parametrize("symbols", ORDERS)
def test_every_output_of_a_result_has_the_common_range(
    database: Path, backtester: Run, symbols: tuple[str, ...], outages: tuple[tuple[str, int], ...]
) -> None:
    for symbol, bar in outages:
        remove_candle(database, symbol, bar)
    ended = backtester(*SIM, *make_symbol_flags(symbols), *HALF)
    assert (ended.code, ended.err) == (0, "")
    run = load_run()
    summary, metrics, equity = run.summary, run.metrics, run.equity
    moments = list(range(*COMMON, HOUR))
    held = metrics["buy_and_hold"]
    page, drawn = read_page(run.folder / "report.html")

    assert (summary.from_, summary.to, summary.candles) == (*COMMON, len(moments))
    assert "2024-01-05 to 2024-02-20 UTC: 1,104 candles" in ended.out
    assert "2024-01-05 to 2024-02-20" in backtester("list").out
    assert "2024-01-05 to 2024-02-20 UTC, end excluded" in page

    assert np.load(run.folder / "equity.npy")["timestamp"].tolist() == moments
    assert len(equity) == len(moments)
    assert equity["equity"].iloc[-1] == metrics["final_equity"]
    assert equity["buy_and_hold"].iloc[-1] == pytest.approx(held["final_equity"], rel=1e-12)
    assert metrics["max_drawdown_seconds"] <= COMMON[1] - COMMON[0]
    assert all(COMMON[0] <= trade.entry_timestamp < COMMON[1] for trade in run.read_trade_records())

    assert unpack_times(drawn["times"]) == moments
    assert len(drawn["close"]) == len(drawn["equity"]) == len(moments)
    assert [len(one["close"]) for one in drawn["others"]] == [len(moments)]
    assert drawn["equity"][-1] == pytest.approx(metrics["final_equity"], rel=1e-6)
    assert drawn["buy_and_hold"][-1] == pytest.approx(held["final_equity"], rel=1e-6)
    absent = [drawn["close"].count(None), drawn["others"][0]["close"].count(None)]
    assert absent == [sum(missing == symbol for missing, _ in outages) for symbol in symbols]
    january = float(equity["equity"].loc["2024-01-31 23:00+00:00"]) / metrics["start_cash"] - 1
    *_, whole, whole_held = find_monthly_cells(page)
    assert find_monthly_cells(page)[0] == f"{january * 100:+.1f}"
    assert whole == f"{metrics['total_return'] * 100:+.1f}"
    assert whole_held == f"{held['total_return'] * 100:+.1f}"

    last = backtester("explain", "--run", "last", "--at", "2024-02-19T23:30", "--json")
    document = json.loads(last.out)
    for shown in (document, *document["other_symbols"]):
        assert (shown["opened"], shown["equity"]) == (moments[-1], metrics["final_equity"])
    assert not any("candles" in text for text in document["changed_since"])
    after = backtester("explain", "--run", "last", "--at", "2024-02-20T00:30")
    assert "it has 2024-01-05 00:00 to 2024-02-20 00:00 UTC" in after.err


def test_the_order_of_the_symbols_decides_only_between_simultaneous_entries(
    database: Path, backtester: Run
) -> None:
    remove_candle(database, "ETH/USDT", 11)
    # Who buys first of one moment changes nothing where each order costs the same.
    flags = ("--sizing", "quote_amount=1000", "--json")
    first, second = (
        backtester(*SIM, *make_symbol_flags(symbols), *flags).document for symbols in ORDERS
    )
    for name in ("from", "to", "candles", "warm_up", "known_outages", "left_out"):
        assert first[name] == second[name], name
    assert sorted(first["notes"]) == sorted(second["notes"])
    assert first["metrics"]["trades"] > 4
    held = [one["metrics"].pop("buy_and_hold") for one in (first, second)]
    assert first["metrics"] == pytest.approx(second["metrics"], rel=1e-9)
    assert held[0] == pytest.approx(held[1], rel=1e-9)


@pytest.mark.parametrize("symbols", ORDERS)
def test_a_note_names_the_symbol_that_limits_the_range_and_the_command_to_extend_it(
    database: Path, backtester: Run, symbols: tuple[str, ...]
) -> None:
    notes = backtester(*SIM, *make_symbol_flags(symbols), "--json").document["notes"]
    fetch = "uv run backfiller --exchange simulator --symbol BTC/USDT --timeframe 1h"
    assert notes[:2] == [
        "BTC/USDT begins last, at 2024-01-05 00:00 UTC: the earlier candles of ETH/USDT are not "
        f"traded; to fetch what is missing: {fetch} --from 2024-01-01 --to 2024-01-05",
        "BTC/USDT ends first, at 2024-02-20 00:00 UTC: the later candles of ETH/USDT are left out; "
        f"to fetch what is missing: {fetch} --from 2024-02-20 --to 2024-03-11",
    ]


@pytest.mark.parametrize("symbols", ORDERS)
def test_a_requested_range_that_one_symbol_does_not_cover_is_refused(
    database: Path, backtester: Run, symbols: tuple[str, ...]
) -> None:
    ended = backtester(*SIM, *make_symbol_flags(symbols), "--to", "2024-03-01")
    assert ended.code == 4
    assert "BTC/USDT 1h has 240 candles missing from 2024-02-20 00:00 UTC" in ended.err


@pytest.mark.parametrize("symbols", ORDERS)
def test_symbols_without_a_candle_in_common_are_refused(
    database: Path, backtester: Run, symbols: tuple[str, ...]
) -> None:
    ended = backtester(*SIM, *make_symbol_flags(symbols), "--from", "2024-03-01")
    assert ended.code == 4
    assert ended.err == (
        "backtester: the symbols have no candle in common: BTC/USDT ends at 2024-02-20 00:00 UTC, "
        "--from is 2024-03-01; run: uv run backfiller --exchange simulator --symbol BTC/USDT "
        "--timeframe 1h --from 2024-02-20\n"
    )


def test_explain_shows_only_the_symbols_that_have_the_candle(
    database: Path, backtester: Run
) -> None:
    remove_candle(database, "BTC/USDT", 100)
    flags = (*SIM, *make_symbol_flags(ORDERS[0]), "--at", "2024-01-09T04:10")
    ended = backtester("explain", *flags)
    assert (ended.code, ended.err) == (0, "")
    assert "ETH/USDT 1h, candle 2024-01-09 04:00" in ended.out
    assert "BTC/USDT 1h, candle" not in ended.out


@pytest.mark.parametrize("symbols", ORDERS)
def test_an_unproven_last_row_is_left_out_if_its_symbol_ends_the_range(
    database: Path, backtester: Run, symbols: tuple[str, ...]
) -> None:
    with open_store(database, create=False) as store, store.write() as connection:
        connection.execute(
            "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, "
            "close, volume) VALUES ('simulator', 'BTC/USDT', '1h', ?, 1, 1, 1, 1, 1)",
            (COMMON[1],),
        )
    document = backtester(*SIM, *make_symbol_flags(symbols), "--json").document
    assert (document["to"], document["left_out"]) == (COMMON[1], COMMON[1])
    words = "BTC/USDT: the newest row, 2024-02-20 00:00 UTC, is left out"
    assert any(note.startswith(words) for note in document["notes"])
