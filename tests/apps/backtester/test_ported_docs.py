"""The examples of the pages for users of other programs trade as these programs do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from docs_pages import write_files
from onetape.backtest import Account, backtest
from onetape.core.candles import Candles
from onetape.strategies.testing import random_candles

Run = Callable[..., Any]


def compute_pine_rsi(close: list[float], length: int) -> list[float]:
    """Return ta.rsi: Wilder's averages, seeded with the mean of the first changes."""
    found = [float("nan")] * len(close)
    up = down = 0.0
    for bar in range(1, len(close)):
        change = close[bar] - close[bar - 1]
        rise, fall = max(change, 0.0), max(-change, 0.0)
        if bar <= length:
            up, down = up + rise / length, down + fall / length
        else:
            up += (rise - up) / length
            down += (fall - down) / length
        if bar >= length:
            found[bar] = 100 - 100 / (1 + up / down)
    return found


def run_pine_script(candles: Candles) -> list[tuple[int, float, int | None, float | None]]:
    """Return the trades of the page's Pine script, carried out bar by bar."""
    opens, close = candles.open.tolist(), candles.close.tolist()
    rsi = compute_pine_rsi(close, 14)
    trades: list[tuple[int, float, int | None, float | None]] = []
    is_long, order = False, 0
    for bar, moment in enumerate(candles.timestamp.tolist()):
        if order == 1 and not is_long:
            trades.append((moment, opens[bar], None, None))
            is_long = True
        elif order == -1 and is_long:
            trades[-1] = (*trades[-1][:2], moment, opens[bar])
            is_long = False
        order = 0
        if bar < 49:
            continue
        average = sum(close[bar - 49 : bar + 1]) / 50
        if rsi[bar] > 45 and rsi[bar - 1] <= 45 and close[bar] > average:
            order = 1
        if rsi[bar] < 60 and rsi[bar - 1] >= 60:
            order = -1
    return trades


#: Bar and price of entry and exit: trades of backtesting.py 0.6.6 with the page's class on the
#: candles below, cash 1,000,000 and commission 0.002.
BACKTESTING_PY = [
    (57, 86.9437, 73, 84.7561),
    (95, 87.6265, 103, 83.249),
    (195, 74.0924, 220, 73.873),
    (278, 65.2888, 285, 65.2469),
    (294, 66.9299, 321, 66.6736),
    (343, 70.136, 372, 67.7149),
    (419, 68.2459, 433, 65.0385),
    (573, 45.0207, 577, 42.8491),
    (596, 45.0746, 608, 42.9256),
    (628, 44.5397, 659, 44.6479),
    (666, 46.9097, 684, 45.6337),
    (703, 46.9541, 726, 47.7422),
    (754, 46.675, 787, 45.7771),
]


def test_the_ported_pine_script_makes_the_trades_of_the_original(
    backtest_json: Run, candles: Candles, folder: Path, repository: Path
) -> None:
    write_files(repository / "docs" / "tradingview.md", folder)
    ours = backtest_json("--strategy", "rsi_dip", "--trading-rules", "none").document["trades"]
    found = [
        (one["entry_timestamp"], one["entry_price"], one["exit_timestamp"], one["exit_price"])
        for one in ours
    ]
    assert len(found) > 10
    assert found == run_pine_script(candles)


def test_the_ported_backtesting_py_class_makes_the_trades_of_the_original(
    folder: Path, repository: Path
) -> None:
    write_files(repository / "docs" / "backtesting_py.md", folder)
    frame = random_candles(900, seed=7).frame()
    account = Account(cash=1_000_000, fee=0.002)
    run = backtest("sma_pair", frame, params={"fast": 10}, account=account, check=False)
    closed = run.trades.dropna(subset="exit_price")
    index = frame.index
    found = [
        (index.get_loc(entered), entry, index.get_loc(left), price)
        for entered, entry, left, price in zip(
            *(closed[name] for name in ("entry_time", "entry_price", "exit_time", "exit_price")),
            strict=True,
        )
    ]
    assert found == BACKTESTING_PY
