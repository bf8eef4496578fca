"""Simulation of several symbols on one account, with shared cash and a limit of open trades.

At one moment, exits at the open come first, then entries in the order of the symbols, then exits
inside the candle, whose money is not available at the candle's open.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.core.price_steps import add_month_steps
from onetape.core.trading_rules import TradingRules
from onetape.engine.account_config import AccountConfig
from onetape.engine.equity import compute_equity_parts
from onetape.engine.intrabar import IntrabarSource
from onetape.engine.round_trips import Trade
from onetape.engine.simulation import (
    make_cash_only_state,
    make_guard_log,
    make_symbol_state,
    simulate,
)
from onetape.engine.simulation_result import SimulationResult
from onetape.engine.time_axis import (
    find_axis_indices,
    forward_fill_to_axis,
    is_whole,
    merge_time_axes,
)

if TYPE_CHECKING:
    from onetape.core.strategy_levels import LevelColumns
    from onetape.engine.shared_account import SharedAccount

#: Rule for orders at one moment, printed with each result that depends on it.
TIE_RULE: Final = (
    "at one moment exits come before entries, entries in the order of the symbols; the money of an "
    "exit inside a candle is available from the next open on"
)


class SymbolSeries(Struct, frozen=True):
    """One symbol of a simulation: its candles, signals and market rules."""

    symbol: str
    candles: Candles
    """Closed candles, oldest first, warm-up included."""
    signal: NDArray[np.int8]
    """Signal of each candle: 1 BUY, -1 SELL, 0 HOLD, shape (n,)."""
    start_index: int
    """Index of the first candle that is traded."""
    trading_rules: TradingRules
    """Price and amount rules of this symbol's market."""
    intrabar: IntrabarSource | None = None
    """Intrabar candles, which decide exits inside a bar; None: none are used."""
    has_volume: bool | None = None
    """Whether any candle of the whole stored series has volume; None: only `candles` are known."""
    levels: "LevelColumns | None" = None
    """Stops and targets of the strategy for all candles; None: there are none."""


class PortfolioResult(Struct, frozen=True, dict=True):
    """Result of a run over several symbols; arrays have shape (m,), one entry per moment."""

    rules: AccountConfig
    """Account settings of the run; the trading rules are those of the first symbol."""
    max_open_trades: int | None
    """Maximum number of open positions; None: the number of symbols."""
    parts: tuple[SimulationResult, ...]
    """Result of each symbol, in the order given; `equity` in them is that of the whole account."""
    timestamp: IntArray
    """Opens of all symbols' candles, epoch seconds."""
    equity: FloatArray
    """Cash and all positions at the last known closes, quote currency."""
    cash: float
    """Cash at the end, quote currency."""
    skipped_entries: int
    """Runs of BUYs that found all slots full and ended without an entry."""

    @property
    def start_cash(self) -> float:
        """Return the cash at the start."""
        return self.rules.cash

    @property
    def final_equity(self) -> float:
        """Return cash and positions at the last closes, quote currency."""
        return float(self.equity[-1]) if len(self.equity) else self.rules.cash

    @property
    def is_open_at_end(self) -> bool:
        """Return whether the range ended before the last position did."""
        return any(part.is_open_at_end for part in self.parts)

    @property
    def exposure(self) -> float:
        """Return the fraction of the moments at whose close any position was open, 0 to 1."""
        if not len(self.timestamp):
            return 0.0
        count = len(self.timestamp)
        change = np.zeros(count, dtype=np.int64)
        for part in self.parts:
            fill_log = part.fill_log
            opens = part.candles.timestamp
            for bars, sign in ((fill_log.get_entry_column(), 1), (fill_log.get_exit_column(), -1)):
                axis_indices = bars
                if not is_whole(opens, self.timestamp):
                    axis_indices = find_axis_indices(self.timestamp, opens[bars])
                change += sign * np.bincount(axis_indices, minlength=count)
        return float((np.cumsum(change) > 0).mean())

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """Return all round trips by time of entry, at one moment in the order of the symbols."""
        return tuple(
            sorted(
                (trade for part in self.parts for trade in part.trades),
                key=lambda trade: trade.entry_timestamp,
            )
        )


def simulate_portfolio(
    series: Sequence[SymbolSeries], rules: AccountConfig, max_open_trades: int | None = None
) -> PortfolioResult:
    """Trade several symbols of one quote currency and timeframe on one account.

    Each symbol follows the rules of `simulate`. A BUY that finds all slots full has not entered:
    once a slot is free the next BUY of its run may, at the moment of an exit at the open already.
    The account's equity, which sizings need, counts positions at their last close.

    Args:
        series: Series, at least one; their order decides between entries at one moment.
        rules: Money, fees, stops and targets; the trading rules are those of each symbol.
        max_open_trades: Maximum number of open positions; None: as many as symbols.
    """
    if len(series) == 1:
        return _simulate_one_symbol(series[0], rules, max_open_trades)
    # Imported here, because the imports take a millisecond and most runs have one symbol.
    from onetape.engine.independent import trade_independent
    from onetape.engine.shared_account import SharedAccount

    empty = make_cash_only_state(rules)
    symbol_rules = [
        replace(rules, trading_rules=add_month_steps(each.trading_rules, each.candles))
        for each in series
    ]
    symbols = [
        make_symbol_state(
            each.candles,
            each.signal,
            rules_,
            each.start_index,
            empty,
            each.intrabar,
            each.has_volume,
            each.levels,
        )
        for each, rules_ in zip(series, symbol_rules, strict=True)
    ]
    log = make_guard_log(rules, [each.candles for each in series])
    for each, symbol in zip(series, symbols, strict=True):
        symbol.name, symbol.guard_log = each.symbol, log
    axis = merge_time_axes([symbol.candles.timestamp for symbol in symbols])
    make_account, is_plain = SharedAccount, log is None
    if any(symbol.plan.limits is not None for symbol in symbols):
        from onetape.engine.limit_account import LimitAccount

        make_account, is_plain = LimitAccount, False
    account = make_account(symbols, symbol_rules, max_open_trades or len(symbols), axis)
    if not is_plain or not trade_independent(account):
        account.begin()
    account.trade()
    account.end()
    equity = _compute_equity(account)
    parts = tuple(
        SimulationResult(
            rules=rules_,
            candles=symbol.candles,
            start_index=each.start_index,
            start_cash=rules.cash,
            equity=_take_own_candles(equity, axis, symbol.candles.timestamp),
            cash=account.cash,
            base=symbol.fill_log.base,
            fill_log=symbol.fill_log,
            state=empty,
            untraded=symbol.due.untraded,
            symbol=each.symbol,
            pauses=() if log is None else log.get_pauses(each.symbol),
            levels=symbol.levels,
        )
        for each, rules_, symbol in zip(series, symbol_rules, symbols, strict=True)
    )
    return PortfolioResult(
        rules=symbol_rules[0],
        max_open_trades=max_open_trades,
        parts=parts,
        timestamp=axis,
        equity=equity,
        cash=account.cash,
        skipped_entries=account.skipped,
    )


def _simulate_one_symbol(
    series: SymbolSeries, rules: AccountConfig, max_open_trades: int | None
) -> PortfolioResult:
    """Return the run of `simulate`, which is that of an account with one symbol."""
    result = simulate(
        series.candles,
        series.signal,
        replace(rules, trading_rules=series.trading_rules),
        series.start_index,
        intrabar=series.intrabar,
        has_volume=series.has_volume,
        levels=series.levels,
    )
    return PortfolioResult(
        rules=result.rules,
        max_open_trades=max_open_trades,
        parts=(replace(result, symbol=series.symbol),),
        timestamp=result.candles.timestamp,
        equity=result.equity,
        cash=result.cash,
        skipped_entries=0,
    )


def _compute_equity(account: "SharedAccount") -> FloatArray:
    """Return cash and all positions at each moment, quote currency."""
    equity = account.compute_cash_on_axis()
    for symbol in account.symbols:
        value = compute_equity_parts(symbol.candles, symbol.fill_log, 0.0, 0.0)[1]
        equity += forward_fill_to_axis(value, symbol.candles.timestamp, account.axis, 0.0)
    return equity


def _take_own_candles(values: FloatArray, axis: IntArray, column: IntArray) -> FloatArray:
    return values if is_whole(column, axis) else values[find_axis_indices(axis, column)]
