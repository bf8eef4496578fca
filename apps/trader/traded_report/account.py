"""Compares an account with the backtest of the same candles: positions, equity, differences."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from onetape.backtest.backtest_runner import run_backtest
from onetape.backtest.models import Backtest, SymbolRun
from onetape.core.candles import FloatArray
from onetape.core.errors import DataError
from onetape.core.symbols import split_symbol
from onetape.core.timeframes import Timeframe
from onetape.engine import Metrics
from onetape.engine.metrics import compute_equity_metrics, compute_trade_metrics
from onetape.engine.time_axis import forward_fill_to_axis
from onetape.report import DifferenceCause
from onetape.store.account_reading import StoredSession
from onetape.store.accounts import AccountSeries
from onetape.store.candles import read_last_closed_timestamp
from onetape.store.database import Store
from onetape.store.decision_reading import read_decided_range, read_orders, read_sessions
from onetape.store.market_data import read_trading_rules
from onetape.store.stop_states import UnprotectedTime, read_unprotected_time
from trader.commands.account_backtest import find_strategy_choice, make_backtest_config
from trader.commands.account_result import make_series_key, read_account_fills
from trader.commands.round_trips import make_round_trips
from trader.traded_report.causes import Causes
from trader.traded_report.differences import BacktestTrade, find_symbol_differences
from trader.traded_report.positions import (
    TradedPosition,
    compute_symbol_profit,
    find_filled_candle,
    make_traded_positions,
)

#: A time after every stored candle, epoch seconds.
_END = 2**40


class TradedAccount(Struct, frozen=True):
    """What an account traded, the backtest of the same candles, and the differences."""

    account: AccountSeries
    """The account, with the first of its symbols."""
    session: StoredSession
    """The last session; the backtest has its costs, sizes and exits."""
    backtest: Backtest
    positions: list[TradedPosition]
    """Positions of all symbols, in the order of their entries."""
    equity: FloatArray
    """Equity of the account at the closes of the backtest's candles, quote currency."""
    metrics: Metrics
    """Metrics of the traded account."""
    differences: list[DifferenceCause]
    """Differences with their causes, oldest first; their money adds up to `total`."""
    unprotected: UnprotectedTime | None = None
    """Time that live positions had no stop at the exchange; None: paper, or not stored."""

    @property
    def total(self) -> float:
        """Return the profit of the account minus that of the backtest, quote currency."""
        return self.metrics.final_equity - self.backtest.metrics.final_equity


def compare_account(
    store: Store, traded: Sequence[AccountSeries], strategies: Sequence[str | None] = ()
) -> TradedAccount:
    """Run the backtest of an account, and compare it with what the account traded.

    Args:
        store: The open database.
        traded: The account, one record for each symbol to compare; at least one.
        strategies: Names to load the strategy by, as for `find_strategy_choice`.

    Raises:
        DataError: the account has no fill, or its symbols have several timeframes.
        OnetapeError: as for any backtest.
    """
    _check_comparable(store, traded)
    by_symbol = {one.symbol: read_sessions(store, one) for one in traded}
    traded = [one for one in traded if by_symbol[one.symbol]]
    session = max((by_symbol[one.symbol][-1] for one in traded), key=lambda one: one.started_ms)
    # The order of the symbols decides between entries at one moment.
    listed = list(session.rules.get("symbols", ()))
    traded.sort(key=lambda one: listed.index(one.symbol) if one.symbol in listed else len(listed))
    first, sessions = traded[0], [by_symbol[one.symbol] for one in traded]
    start, end = _find_compared_range(store, traded)
    choices = [find_strategy_choice(own[-1], strategies) for own in sessions]
    backtest = run_backtest(make_backtest_config(store.path, traded, session, choices, start, end))
    positions: list[TradedPosition] = []
    differences: list[DifferenceCause] = []
    start_balance = backtest.metrics.start_cash
    equity = np.full(len(backtest.timestamp), start_balance)
    left_over = 0.0
    for account, run, own in zip(traded, backtest.runs, sessions, strict=True):
        found, profit, parts = _compare_symbol(store, account, run, own, start_balance)
        positions += found
        differences += parts
        left_over += sum(one.left_over for one in found) * float(run.result.candles.close[-1])
        equity += forward_fill_to_axis(
            profit, run.result.candles.timestamp, backtest.timestamp, 0.0
        )
    metrics = _compute_metrics(backtest, positions, equity)
    rest = metrics.final_equity - backtest.metrics.final_equity
    rest -= sum(one.money for one in differences)
    parts = [
        (left_over, "left over: coins that no sell took, at the last close"),
        (rest - left_over, "rounding"),
    ]
    end_of_all = int(backtest.timestamp[-1])
    differences += [
        DifferenceCause(end_of_all, "", "whole account", cause, money)
        for money, cause in parts
        if abs(money) > start_balance * 1e-8
    ]
    return TradedAccount(
        account=first,
        session=session,
        backtest=backtest,
        positions=sorted(positions, key=lambda one: one.entry_timestamp),
        equity=equity,
        metrics=metrics,
        differences=sorted(differences, key=lambda one: one.timestamp),
        unprotected=read_unprotected_time(store, first.name),
    )


def _check_comparable(store: Store, traded: Sequence[AccountSeries]) -> None:
    """Refuse an account without a start balance or a fill, or with several timeframes.

    Raises:
        DataError: the account cannot be compared.
    """
    first = traded[0]
    if first.start_balance is None:
        raise DataError(
            f"account {first.name!r} has no stored start balance, which the backtest needs; start "
            "a trader on it once: uv run trader --help"
        )
    if not any(read_account_fills(store, one) for one in traded):
        symbols = ", ".join(one.symbol for one in traded)
        raise DataError(
            f"account {first.name!r} has no fill of {symbols} yet, so there is nothing to report; "
            "uv run trader status shows what its trader waits for"
        )
    timeframes = dict.fromkeys(one.timeframe for one in traded)
    if len(timeframes) > 1:
        raise DataError(
            f"account {first.name!r} trades its symbols on several timeframes "
            f"({', '.join(timeframes)}), which one backtest cannot; choose symbols with --symbol"
        )


def _find_compared_range(store: Store, traded: Sequence[AccountSeries]) -> tuple[int, int]:
    """Return the range to compare: from the first decided candle to its end, exclusive.

    The range ends with the candle after the last one that every symbol decided on, because its
    order fills there; at most with the last closed candle.
    """
    starts: list[int] = []
    ends: list[int] = []
    for one in traded:
        known = read_decided_range(store, one)
        last = read_last_closed_timestamp(store, make_series_key(one), _END)
        if known is not None and last is not None:
            timeframe = Timeframe.parse(one.timeframe)
            starts.append(known[0])
            ends.append(min(timeframe.next(last), timeframe.shift(known[1], 2)))
    if not starts:
        raise DataError(
            f"account {traded[0].name!r} has decided on no stored candle; run: uv run backfiller"
        )
    return min(starts), min(ends)


def _compare_symbol(
    store: Store,
    account: AccountSeries,
    run: SymbolRun,
    sessions: Sequence[StoredSession],
    start_balance: float,
) -> tuple[list[TradedPosition], FloatArray, list[DifferenceCause]]:
    """Return the positions of one symbol, their profit at each close, and the differences.

    Args:
        store: The open database.
        account: The account with the symbol.
        run: Backtest of the symbol.
        sessions: Sessions of the symbol, oldest first.
        start_balance: Start balance of the account, quote currency.
    """
    candles = run.result.candles
    stored = read_orders(store, account, 0, _END)
    orders = {one.client_order_id: one for one in stored}
    last = int(candles.timestamp[-1])
    # Fills in a candle that has not closed are no part of the backtest yet.
    fills = [
        one
        for one in read_account_fills(store, account)
        if (find_filled_candle(one, orders, candles) or 0) <= last
    ]
    base, quote = split_symbol(account.symbol)
    steps = read_trading_rules(store, account.exchange, account.symbol)
    trips = make_round_trips(fills, base, quote, steps)
    positions = make_traded_positions(trips, orders, candles)
    tested = make_backtest_trades(run)
    causes = Causes(store, account, sessions, stored)
    differences = [
        replace(one, symbol=account.symbol)
        for one in find_symbol_differences(positions, tested, causes, start_balance)
    ]
    return positions, compute_symbol_profit(fills, orders, candles), differences


def make_backtest_trades(run: SymbolRun) -> list[BacktestTrade]:
    """Return the trades of one symbol of a backtest, with the candles of their signals."""
    result, last = run.result, float(run.result.candles.close[-1])
    timeframe = Timeframe.parse(run.window.key.timeframe)
    first = int(result.candles.timestamp[0])
    found: list[BacktestTrade] = []
    for trade in result.trades:
        bar = int(result.fill_log.find_signal_bars(np.array([trade.entry_index]))[0])
        signal = int(result.candles.timestamp[bar]) if bar >= 0 else timeframe.floor(first - 1)
        price = last if trade.exit_price is None else trade.exit_price
        found.append(BacktestTrade(trade, signal, price))
    return found


def _compute_metrics(
    backtest: Backtest, positions: Sequence[TradedPosition], equity: FloatArray
) -> Metrics:
    """Return the metrics of the account; those that need a backtest are those of the backtest."""
    times = backtest.timestamp
    closed = [one for one in positions if not one.is_open]
    profits = np.array([one.profit for one in closed])
    paid = np.array([one.entry_price * one.amount for one in closed])
    bars = sum(
        int(np.searchsorted(times, one.exit_timestamp or 0))
        - int(np.searchsorted(times, one.entry_timestamp))
        for one in closed
    )
    start = backtest.metrics.start_cash
    return replace(
        backtest.metrics,
        **compute_equity_metrics(equity, start, times),
        **compute_trade_metrics(profits, profits / paid, bars),
        fees=sum(one.fees for one in positions),
        open_at_end=any(one.is_open for one in positions),
    )
