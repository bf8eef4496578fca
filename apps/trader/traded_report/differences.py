"""The differences between real trades and backtest trades, each with its cause and its money.

Trades of both sides are matched. A matched pair is split into parts (entry price, exit price, size,
fees ...), each with its money; a trade of one side only is a difference as a whole. The money of
all differences adds up to the difference of the profits: what has no cause is a separate row, the
rounding.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from onetape.backtest.trade_records import EXIT_TEXTS
from onetape.core.clock import format_utc
from onetape.engine import Trade
from onetape.report import DifferenceCause
from trader.traded_report.causes import Causes
from trader.traded_report.positions import TradedPosition

#: Parts of a difference below this fraction of the start balance count as rounding.
_MIN_PART: Final = 1e-8


class BacktestTrade(Struct, frozen=True):
    """A trade of the backtest, with the candle of its signal."""

    trade: Trade
    signal_timestamp: int
    """Open of the candle whose signal led to the trade, epoch seconds."""
    exit_price: float
    """Price of the exit, quote currency; the last close for an open trade."""

    def is_open_at(self, timestamp: int) -> bool:
        """Return whether the trade was open at the close of a candle (epoch seconds)."""
        left = self.trade.exit_timestamp
        return self.trade.entry_timestamp <= timestamp and (left is None or timestamp < left)

    @property
    def exit_text(self) -> str:
        """Return a text with kind and time of the trade's exit."""
        trade = self.trade
        if trade.exit_timestamp is None or trade.exit_kind is None:
            return "still open"
        return f"{EXIT_TEXTS[trade.exit_kind]} {format_utc(trade.exit_timestamp)}"


def find_symbol_differences(
    traded: Sequence[TradedPosition],
    tested: Sequence[BacktestTrade],
    causes: Causes,
    start_balance: float,
) -> list[DifferenceCause]:
    """Return the differences of one symbol, oldest first.

    Args:
        traded: Positions of the trader, oldest first.
        tested: Trades of the backtest, oldest first.
        causes: Names the causes.
        start_balance: Start balance of the account, quote currency.
    """
    pairs, only_traded, only_tested = match_trades(traded, tested)
    minimum = start_balance * _MIN_PART
    first = min((one.entry_timestamp for one in traded), default=0)
    found = [
        part
        for position, other in pairs
        for part in _compare_pair(
            position, other, causes, is_first=position.entry_timestamp == first
        )
        if abs(part.money) > minimum
    ]
    found += [
        DifferenceCause(
            one.entry_timestamp,
            one.symbol,
            f"only traded: {_format_traded_span(one)}",
            causes.explain_extra_entry(
                one,
                lambda at: any(other.is_open_at(at) for other in tested),
                [other.trade.exit_timestamp for other in tested if other.trade.exit_timestamp],
            ),
            one.profit,
        )
        for one in only_traded
    ]
    found += [
        DifferenceCause(
            one.trade.entry_timestamp,
            one.trade.symbol,
            f"only in the backtest: {_format_backtest_span(one)}",
            causes.explain_missing_entry(
                one.signal_timestamp, lambda at: any(_is_open_at(other, at) for other in traded)
            ),
            -one.trade.profit,
        )
        for one in only_tested
    ]
    return sorted(found, key=lambda one: one.timestamp)


def match_trades(
    traded: Sequence[TradedPosition], tested: Sequence[BacktestTrade]
) -> tuple[list[tuple[TradedPosition, BacktestTrade]], list[TradedPosition], list[BacktestTrade]]:
    """Return pairs of the same position, and the positions of each side without a match.

    Positions match if they were entered in the same candle, or else by the same signal, or else if
    they were open at the same time; the oldest are matched first.
    """
    pairs: list[tuple[TradedPosition, BacktestTrade]] = []
    only_traded, only_tested = list(traded), list(tested)

    def match_by(is_same: Callable[[TradedPosition, BacktestTrade], bool]) -> None:
        for one in list(only_traded):
            other = next((each for each in only_tested if is_same(one, each)), None)
            if other is not None:
                pairs.append((one, other))
                only_traded.remove(one)
                only_tested.remove(other)

    match_by(lambda one, other: one.entry_timestamp == other.trade.entry_timestamp)
    match_by(lambda one, other: one.signal_timestamp == other.signal_timestamp)
    match_by(_is_overlapping)
    return pairs, only_traded, only_tested


def _compare_pair(
    position: TradedPosition, other: BacktestTrade, causes: Causes, *, is_first: bool
) -> list[DifferenceCause]:
    """Return the parts of the difference between two trades; their money adds up to it.

    Args:
        position: Position of the trader.
        other: Trade of the backtest.
        causes: Names the causes.
        is_first: Whether it is the trader's first position.
    """
    trade, amount = other.trade, position.amount
    fees = trade.entry_fee + trade.exit_fee
    size = (amount - trade.amount) * (other.exit_price - trade.entry_price)
    entry = amount * (trade.entry_price - position.entry_price)
    exit_ = amount * (position.exit_price - other.exit_price)
    paid = fees - position.fees
    # Above, a fee in base currency counts at the entry's price; in the end it costs the exit's.
    in_coin = -position.fee_base * (position.exit_price - position.entry_price)
    in_coin -= trade.profit - trade.amount * (other.exit_price - trade.entry_price) + fees
    left_over = -position.left_over * position.exit_price
    rest = position.profit - trade.profit - (size + entry + exit_ + paid + in_coin + left_over)
    parts = [
        (entry, _explain_entry_difference(position, other, causes)),
        (exit_, _explain_exit_difference(position, other, causes)),
        (size, causes.explain_size(is_first=is_first)),
        (
            paid,
            causes.explain_fees(_compute_fee_rate(position), fees / _compute_traded_value(other)),
        ),
        (in_coin, causes.explain_fee_in_coin(position)),
        (left_over, causes.explain_left_over(position)),
        (rest, "rounding"),
    ]
    span = _format_traded_span(position)
    return [
        DifferenceCause(position.entry_timestamp, position.symbol, span, cause, money)
        for money, cause in parts
    ]


def _explain_entry_difference(
    position: TradedPosition, other: BacktestTrade, causes: Causes
) -> str:
    trade = other.trade
    if position.entry_timestamp == trade.entry_timestamp:
        return causes.explain_entry_price(position, trade.entry_price)
    return (
        f"entered {format_utc(position.entry_timestamp)}, the backtest "
        f"{format_utc(trade.entry_timestamp)}: "
        f"{causes.explain_missing_entry(other.signal_timestamp, lambda _: False)}"
    )


def _explain_exit_difference(position: TradedPosition, other: BacktestTrade, causes: Causes) -> str:
    trade = other.trade
    is_same_exit = position.exit_timestamp == trade.exit_timestamp and (
        position.is_open or position.exit_kind == trade.exit_kind
    )
    if is_same_exit:
        return causes.explain_exit_price(position, other.exit_price)
    return causes.explain_exit(position, trade.exit_kind, other.exit_text)


def _compute_fee_rate(position: TradedPosition) -> float:
    """Return the fees as a fraction of the value bought and sold."""
    value = position.amount * position.entry_price + position.sold * position.exit_price
    return position.fees / value


def _compute_traded_value(other: BacktestTrade) -> float:
    """Return the value that a trade of the backtest bought and sold, quote currency."""
    trade = other.trade
    return trade.amount * (trade.entry_price + (trade.exit_price or 0.0))


def _is_overlapping(position: TradedPosition, other: BacktestTrade) -> bool:
    return other.is_open_at(position.entry_timestamp) or _is_open_at(
        position, other.trade.entry_timestamp
    )


def _is_open_at(position: TradedPosition, timestamp: int) -> bool:
    left = position.exit_timestamp
    return position.entry_timestamp <= timestamp and (left is None or timestamp < left)


def _format_traded_span(one: TradedPosition) -> str:
    return _format_span(one.entry_timestamp, one.exit_timestamp)


def _format_backtest_span(one: BacktestTrade) -> str:
    return _format_span(one.trade.entry_timestamp, one.trade.exit_timestamp)


def _format_span(entry: int, left: int | None) -> str:
    """Return the times of entry and exit; an exit on the day of the entry has no date."""
    start = format_utc(entry)
    if left is None:
        return f"{start}, still open"
    end = format_utc(left)
    day = len("2024-01-01 ")
    return f"{start} to {end[day:] if end[:day] == start[:day] else end}"
