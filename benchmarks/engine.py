"""Speed of the engine, compared with one NumPy pass that does the same work and nothing more.

    uv run python benchmarks/engine.py > benchmarks/results/engine.json

Arrays are in memory. The work: SMA 10/30 cross with its signals, fills at the next open, a fee of
0.1 %, every trade's money and the equity at each close; all in at 100,000 candles, one coin a trade
at 1,000,000. The pass has no stops, so each run with exits is a share of the pass without. Without
exits both must come to the same money. Times are of the processor, which others use as well, and
each is the least of three. Prints one JSON document with every sample.

Up to half of the time would be the system's, for the memory of new arrays: whether malloc gives
that of freed arrays back depends on what happens to lie behind them. So the pass took 14 ms in one
version of the engine's modules and 11 ms in another, and the share rose by a quarter where the
engine's time had not changed. Therefore malloc keeps what is freed, both run once before they are
timed, and then both take turns run by run.
"""

import argparse
import ctypes
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from recording import SEED, describe_machine, measure, print_document, refuse_slow_imports

from onetape.core.candles import Candles, FloatArray
from onetape.core.strategy_levels import LevelColumns
from onetape.engine import AccountConfig, ExitConfig, simulate
from onetape.strategies import load_strategy

FAST, SLOW, FEE = 10, 30, 0.001
EXITS: Final = ExitConfig(stop_loss=0.01, take_profit=0.02, trailing_stop=0.008)
#: Exits that count both fees.
NET: Final = ExitConfig(
    stop_loss=0.01,
    take_profit=0.02,
    net_targets=True,
    trailing_stop=0.008,
    trailing_offset=0.01,
    break_even=0.006,
)
#: Exits that depend on the time since the entry, and a SELL that counts only in profit.
TIMED: Final = ExitConfig(
    stop_loss=0.01,
    target_table={0: 0.02, 30: 0.01, 120: 0.004},
    time_stop_bars=240,
    exit_profit_offset=0.0,
)
#: An entry guard, with which trades are carried out one by one.
GUARD: Final = "trade_limit=4,lookback_period_candles=240,stop_duration_candles=60"
#: Distances of the strategy's stop and target from each close, as factors.
STOP, TARGET = 0.992, 1.02
BARE: Final = "a NumPy pass"
#: Parameters of glibc's mallopt(3): freed memory at the end of the heap that is given back, and
#: arrays from which on memory is not of the heap; 32 MiB is the most that it takes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Sizing of an entry and its name, by number of candles.
SIZES: Final[dict[int, tuple[dict[str, Any], str]]] = {
    100_000: ({"cash": 10_000.0}, "all in"),
    1_000_000: (
        {"cash": 1e9, "sizing": "base_amount", "base_amount": 1.0},
        "one coin a trade",
    ),
}


def make_walk(count: int) -> Candles:
    """Return a seeded walk of minutes; its prices are not rounded, so no two averages are equal."""
    chance = np.random.default_rng(SEED)
    close = 30_000 * np.exp(np.cumsum(chance.normal(0, 5e-4, count)))
    open_ = np.concatenate(([30_000.0], close[:-1]))
    reach = 1 + np.abs(chance.normal(0, 3e-4, count))
    high, low = np.maximum(open_, close) * reach, np.minimum(open_, close) / reach
    return Candles(60 * np.arange(count), open_, high, low, close, np.ones(count))


def compute_average(sums: FloatArray, window: int) -> FloatArray:
    """Return the means of the windows that end at the slow average's first value and later."""
    return (sums[SLOW:] - sums[SLOW - window : len(sums) - window]) / window


def run_numpy_pass(candles: Candles, cash: float, *, one_coin: bool) -> float:
    """Return the last equity of the same run, by NumPy alone."""
    sums = np.concatenate(([0.0], np.cumsum(candles.close)))
    above = compute_average(sums, FAST) > compute_average(sums, SLOW)
    crosses = np.flatnonzero(above[1:] != above[:-1]) + SLOW + 1
    crosses = crosses[crosses < len(candles)]
    crosses = crosses[int(not above[crosses[0] - SLOW]) :]
    price = candles.open[crosses]
    buys = np.arange(len(crosses)) % 2 == 0
    if one_coin:
        change = np.where(buys, -price * (1 + FEE), price * (1 - FEE))
        money = np.concatenate(([cash], cash + np.cumsum(change)))
        coins = np.concatenate(([0.0], np.where(buys, 1.0, 0.0)))
    else:
        pairs = len(price) // 2 * 2
        growth = price[1:pairs:2] * (1 - FEE) / (price[0:pairs:2] * (1 + FEE))
        value = cash * np.concatenate(([1.0], np.cumprod(growth)))
        coins, money = np.zeros(len(price) + 1), np.zeros(len(price) + 1)
        coins[1::2] = value[: len(coins[1::2])] / (price[0::2] * (1 + FEE))
        money[0::2] = value[: len(money[0::2])]
    lengths = np.diff(np.concatenate(([0], crosses, [len(candles)])))
    equity = np.repeat(coins, lengths) * candles.close + np.repeat(money, lengths)
    return float(equity[-1])


def keep_freed_memory() -> None:
    """Let malloc keep the memory of freed arrays for the next ones, where it is glibc's."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)


def measure_seconds(*works: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Return the processor time of works that take turns, the least of three each, and results."""
    least = [float("inf")] * len(works)
    results = [work() for work in works]
    for _ in range(3):
        for number, work in enumerate(works):
            began = time.process_time()
            results[number] = work()
            least[number] = min(least[number], time.process_time() - began)
    return least, results


def measure_shares(count: int, rounds: int) -> list[dict[str, Any]]:
    """Return the measurements for a number of candles."""
    account, name = SIZES[count]
    candles = make_walk(count)
    strategy = load_strategy("sma_cross", {"fast": FAST, "slow": SLOW})

    def engine(exits: ExitConfig, levels: LevelColumns | None, guard: str | None) -> float:
        rules = AccountConfig(fee_rate=FEE, exits=exits, stoploss_guard=guard, **account)
        signal = strategy.evaluate(candles, {}).signal
        return simulate(candles, signal, rules, levels=levels).final_equity

    own = LevelColumns(candles.close * STOP, candles.close * TARGET, "each_candle", "at_entry")

    measured: list[dict[str, Any]] = []
    for label, exits, levels, guard, goal in (
        ("without exits", ExitConfig(), None, None, 3.0),
        ("with stop, target and trailing stop", EXITS, None, None, 6.0),
        (
            *("with stop and target of the strategy, the stop by each candle", ExitConfig()),
            *(own, None, 9.0),
        ),
        ("with break-even, trailing offset and target, net of fees", NET, None, None, 9.0),
        ("with a target table, a time stop and exits in profit only", TIMED, None, None, 9.0),
        ("with stop, target, trailing stop and a stoploss guard", EXITS, None, GUARD, 40.0),
    ):
        raw: list[list[float]] = []
        for _ in range(rounds):
            (ours, bare), (found, expected) = measure_seconds(
                lambda exits=exits, levels=levels, guard=guard: engine(exits, levels, guard),
                lambda: run_numpy_pass(candles, account["cash"], one_coin="sizing" in account),
            )
            if goal == 3.0 and abs(found / expected - 1) > 1e-9:
                raise SystemExit(f"the pass came to {expected}, the engine to {found}")
            raw.append([ours, bare])
        measured.append(
            measure(
                f"{count:,} candles, {name}, {label}",
                "ratio",
                [ours / bare for ours, bare in raw],
                goal=goal,
                wanted="below",
                of=BARE,
                raw=raw,
            )
        )
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the engine; prints JSON.")
    parser.add_argument("--rounds", type=int, default=15, help="samples of each measurement")
    flags = parser.parse_args()
    refuse_slow_imports()
    keep_freed_memory()
    before = describe_machine()
    measurements = [one for count in SIZES for one in measure_shares(count, flags.rounds)]
    command = f"uv run python benchmarks/engine.py --rounds {flags.rounds}"
    print_document(
        "engine", command, ["packages/engine", "packages/strategies"], before, measurements
    )


if __name__ == "__main__":
    main()
