"""Orders that wait for a trade, by command line: result, notes, explain, optimize, account."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store

Run = Callable[..., Any]
HOUR, START = 3_600, 1_704_067_200
#: Buys on volume 777 and sells on 666.
BY_VOLUME = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onetape.strategies import Signals, Strategy


@dataclass(frozen=True)
class ByVolume(Strategy):
    name: ClassVar[str] = "by_volume"
    pad: int = 1

    @property
    def lookback(self):
        return 1

    def evaluate(self, candles, higher):
        sides = (candles.volume == 777).astype(np.int8) - (candles.volume == 666).astype(np.int8)
        return Signals(sides, {})
"""
#: By hour: b BUY, s SELL, x a trade, - none; after the halt the price is 60.
HALT = "xbxxxs----xxxxx"


@pytest.fixture
def halted(folder: Path, backtester: Run) -> Callable[..., Any]:
    """Return a function that stores markets that halt and runs a command of the backtester."""
    file = folder / "by_volume.py"
    file.write_text(BY_VOLUME)

    def run(*command: str, bars: dict[str, str]) -> Any:
        path = folder / "halts.db"
        with open_store(path, create=True) as store:
            for symbol, kinds in bars.items():
                key = SeriesKey("binance", symbol, "1h")
                insert_closed_rows(store, key, make_rows(kinds), source="rest", seen_ms=0)
        symbols = [word for symbol in bars for word in ("--symbol", symbol)]
        common = ("--exchange", "binance", *symbols, "--timeframe", "1h", "--db", str(path))
        requested = ("--strategy", f"{file}:ByVolume", "--trading-rules", "none", "--fee", "0")
        names = command[:1] if command and not command[0].startswith("-") else ()
        return backtester(*names, *common, *requested, *command[len(names) :])

    return run


def make_rows(kinds: str) -> list[Candle]:
    volumes = {"b": 777, "s": 666, "x": 500, "-": 0}
    rows: list[Candle] = []
    for hour, kind in enumerate(kinds):
        price = 60.0 if "-" in kinds[:hour] and kind != "-" else 100.0
        high = price if kind == "-" else price + 1
        opened = START + hour * HOUR
        rows.append(Candle(opened, price, high, price, price, float(volumes[kind])))
    return rows


def test_a_sell_before_a_halt_is_filled_after_it_and_counted(halted: Callable[..., Any]) -> None:
    document = halted("--json", bars={"HALTS/USDT": HALT}).document
    assert document["metrics"]["total_return"] == pytest.approx(-0.4)
    assert document["metrics"]["waited_orders"] == 1
    (trade,) = document["trades"]
    assert (trade["exit_timestamp"], trade["exit_price"]) == (START + 10 * HOUR, 60.0)
    assert (
        "1 order waited for a trade, 4 candles in all (volume 0 and one price); the longest was "
        "filled at 2024-01-01 10:00 UTC after 4 candles"
    ) in document["notes"]
    assert document["assumptions"]["re-entry"].startswith("new_signal: ")


def test_an_order_that_still_waits_at_the_end_is_a_note(halted: Callable[..., Any]) -> None:
    document = halted("--json", bars={"HALTS/USDT": "xbxxxs----"}).document
    assert document["metrics"]["open_at_end"]
    assert any(note.startswith("an order to sell still waits") for note in document["notes"])


@pytest.mark.parametrize(
    ("bars", "hour", "words"),
    [
        (HALT, 5, "market sell at the open of 2024-01-01 10:00 UTC, after 4 candles without a"),
        ("xxb---xx", 2, "market buy (buy signal), filled 166.66667 at 60.00 at the open of 2024"),
        ("xbxxs---", 4, "market sell, which still waits for a trade at the end of the range"),
        ("xxb---", 2, "market buy, which still waits for a trade at the end of the range"),
    ],
)
def test_explain_shows_how_long_an_order_waited(
    halted: Callable[..., Any], bars: str, hour: int, words: str
) -> None:
    at = f"2024-01-01T{hour:02}:00"
    document = halted("explain", "--at", at, "--json", bars={"HALTS/USDT": bars}).document
    assert document["order"].startswith(words), document["order"]


def test_explain_states_that_no_order_fills_in_a_candle_without_trades(
    halted: Callable[..., Any],
) -> None:
    at = ("explain", "--at", "2024-01-01T07:00", "--json")
    document = halted(*at, bars={"HALTS/USDT": HALT}).document
    assert document["inside"] == [
        "nothing was traded: volume 0 and one price, so no order is filled"
    ]


def test_symbols_of_a_shared_account_wait_for_trades_of_their_own_market(
    halted: Callable[..., Any],
) -> None:
    bars = {"HALTS/USDT": HALT, "GOES/USDT": "xbxxxsxxxxxxxxx"}
    document = halted("--json", "--sizing", "quote_amount=1000", bars=bars).document
    exits = {trade["symbol"]: trade["exit_timestamp"] for trade in document["trades"]}
    assert exits == {"HALTS/USDT": START + 10 * HOUR, "GOES/USDT": START + 6 * HOUR}
    assert document["metrics"]["waited_orders"] == 1


def test_an_optimization_waits_as_a_backtest_does(halted: Callable[..., Any]) -> None:
    ended = halted(
        "optimize",
        "--param",
        "pad=1,2",
        "--out-of-sample",
        "0.2",
        "--json",
        bars={"HALTS/USDT": HALT},
    )
    assert ended.code == 0, ended.err
    in_sample = ended.document["results"][0]["in_sample"]
    assert (in_sample["waited_orders"], in_sample["total_return"]) == (1, pytest.approx(-0.4))


def test_the_recorded_halting_market_sells_at_its_first_trade(
    shared: Path, folder: Path, backtester: Run
) -> None:
    case = shared / "data" / "cases" / "zero_volume"
    lines = (case / "binance_HALTS-USDT_1h.csv").read_text().split()
    numbers = [[float(number) for number in line.split(",")] for line in lines[1:]]
    path = folder / "halts.db"
    with open_store(path, create=True) as store:
        rows = [Candle(int(row[0]), *row[1:6]) for row in numbers]
        key = SeriesKey("binance", "HALTS/USDT", "1h")
        assert insert_closed_rows(store, key, rows, source="import", seen_ms=0).inserted == len(
            rows
        )
    document = backtester(
        *("--exchange", "binance", "--symbol", "HALTS/USDT", "--timeframe", "1h"),
        *(
            "--strategy",
            f"{case / 'volume_signal.py'}:VolSig",
            "--trading-rules",
            "none",
            "--fee",
            "0",
        ),
        *("--db", str(path), "--json"),
    ).document
    (trade,) = document["trades"]
    assert (trade["exit_timestamp"], trade["exit_price"]) == (START + 10 * HOUR, 60.0)
    assert document["metrics"]["total_return"] == pytest.approx(-0.4)
