"""`ot.backtest` and `ot.backtest_signals`: a backtest over stored candles or a DataFrame."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from onetape.backtest.arguments import (
    Account,
    Exits,
    StrategyLike,
    collect_stated_values,
    make_account_config,
    make_strategy_choice,
)
from onetape.backtest.backtest_runner import run_backtest, run_inputs
from onetape.backtest.candle_sources import StoredCandles
from onetape.backtest.config import ClassChoice
from onetape.backtest.frame_data import FRAME_SYMBOL, read_frame
from onetape.backtest.given_signals import GivenSignals, make_signals
from onetape.backtest.inputs import make_config, read_frames
from onetape.backtest.records import BiasCheck
from onetape.backtest.results import BacktestResult
from onetape.engine.account_config import TradingRulesSource
from onetape.strategies import Signals

if TYPE_CHECKING:
    import pandas as pd

    from onetape.backtest.inputs import CandlesLike

#: Notes of results over a DataFrame, and of results of given signals.
_NO_RULES = "no trading rules apply: a DataFrame has no price or amount steps"
_NOT_CHECKED = "not bias-checked: the signals were given"


def backtest(
    strategy: StrategyLike,
    candles: "CandlesLike",
    *,
    start: Any = None,
    end: Any = None,
    params: Mapping[str, Any] | None = None,
    account: Account | None = None,
    exits: Exits | None = None,
    max_open_trades: int | None = None,
    timeframe_detail: str | None = None,
    trading_rules: TradingRulesSource = "exchange",
    risk_free_rate: float = 0.0,
    benchmark: str | None = None,
    allow_gaps: bool = False,
    check: bool = True,
) -> BacktestResult:
    """Run a strategy over candles, as `backtester` does, and return the result.

    Args:
        strategy: A strategy by name or of `strategy`, a Strategy, or a function of a DataFrame.
        candles: Candles of `load_candles`, or a DataFrame of open, high, low, close and volume that
            is indexed by the UTC open of each candle; of several symbols, a dict by symbol.
        start: First day or moment, UTC; earlier candles are the warm-up. None: all candles.
        end: End of the range, exclusive, UTC; None: all candles.
        params: Parameters of the strategy by name.
        account: Start balance, costs and sizing; None: the defaults.
        exits: Stops and targets; None: the strategy's SELL alone. Settings that neither `account`
            nor `exits` gives are taken from the file of a freqtrade strategy.
        max_open_trades: Open positions at a time, of several symbols; None: the number in the file
            of a freqtrade strategy, else as many as symbols.
        timeframe_detail: Stored timeframe whose candles decide how a candle met stop or target.
        trading_rules: exchange: price and amount steps and minimums of the exchange; none: no
            rounding and no minimum.
        risk_free_rate: Risk-free rate per year in the Sharpe and Sortino ratios; 0.04 is 4 %.
        benchmark: Symbol that buy and hold holds, of stored candles; None: the traded symbols.
        allow_gaps: Whether to go on over candles that are missing for an unknown reason.
        check: Whether to run the bias check.

    Raises:
        UsageError: an argument is invalid.
        OnetapeError: as for the command `backtester`; the class names the cause.
    """
    if max_open_trades is None:
        max_open_trades = collect_stated_values(strategy).get("max_open_trades")
    config, frames = make_config(
        candles,
        make_strategy_choice(strategy, params),
        start=start,
        end=end,
        account=make_account_config(account, exits, strategy),
        max_open_trades=max_open_trades,
        timeframe_detail=timeframe_detail,
        trading_rules=trading_rules,
        risk_free_rate=risk_free_rate,
        benchmark=benchmark,
        allow_gaps=allow_gaps,
        check=check,
    )
    if not frames:
        return BacktestResult(run_backtest(config))
    began = time.monotonic()
    made = config.strategy.load()
    inputs, notes = read_frames(config, frames, made)
    return BacktestResult(run_inputs(config, made, inputs, began, notes), _NO_RULES)


def backtest_signals(
    candles: "pd.DataFrame | StoredCandles",
    entries: Any,
    exits: Any,
    *,
    start: Any = None,
    end: Any = None,
    account: Account | None = None,
    stops: Exits | None = None,
    allow_gaps: bool = False,
) -> BacktestResult:
    """Trade given signals: a true entry buys and a true exit sells at the next open.

    Nothing checks that the signals were known at the close of their candles.

    Args:
        candles: Candles of `load_candles`, or a DataFrame as `backtest` takes.
        entries: Whether to buy, one boolean per candle.
        exits: Whether to sell, one boolean per candle; where both are true: no order.
        start: First day or moment, UTC; None: all candles.
        end: End of the range, exclusive, UTC; None: all candles.
        account: Start balance, costs and sizing; None: the defaults.
        stops: Stops and targets; None: the exits alone.
        allow_gaps: Whether to go on over missing candles.

    Raises:
        UsageError: an argument is invalid, or the signals have another length than the candles.
    """
    table = candles.frame if isinstance(candles, StoredCandles) else candles
    choice = ClassChoice("given_signals", {}, cls=GivenSignals, values={})
    config, frames = make_config(
        table,
        choice,
        start=start,
        end=end,
        account=make_account_config(account, stops),
        allow_gaps=allow_gaps,
        check=False,
    )
    began = time.monotonic()
    whole = frames[FRAME_SYMBOL]
    signals = Signals(make_signals(entries, exits, len(whole)))
    inputs = [read_frame(whole, config, GivenSignals(), signals)]
    result = run_inputs(config, GivenSignals(), inputs, began)
    check = BiasCheck.make_not_run(_NOT_CHECKED)
    result = replace(result, runs=tuple(replace(run, check=check) for run in result.runs))
    return BacktestResult(result, _NO_RULES)
