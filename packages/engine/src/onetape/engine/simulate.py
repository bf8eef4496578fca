"""Trade the signals of a strategy over stored candles. Python runs per trade, never per bar."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onetape.core.candles import Candles, FloatArray, IntArray
from onetape.engine.fills import Fill, FillModel, Refused
from onetape.engine.rules import Rules
from onetape.engine.trades import Trade, trade_of


@dataclass(frozen=True)
class Result:
    """What a run did; arrays have shape (m,), one entry per candle from `start_index` on."""

    rules: Rules
    """What the run assumed."""
    candles: Candles
    """The candles traded: those from `start_index` on."""
    start_index: int
    """Warm-up candles left out; indices of trades count from there."""
    equity: FloatArray
    """Cash and position at each close, quote currency."""
    cash: float
    """Quote currency left at the end."""
    base: float
    """Base currency held at the end: an open position, or dust that could not be sold."""
    indices: tuple[int, ...]
    """Candle at whose open each fill happened, in time order."""
    fills: tuple[Fill, ...]
    """A buy and a sell in turn, beginning with a buy."""
    refused: tuple[tuple[int, Refused], ...]
    """Orders that the market's minimums kept from being filled, with the candle's index."""

    @property
    def buys(self) -> tuple[Fill, ...]:
        """Return the fills that opened a position."""
        return self.fills[0::2]

    @property
    def sells(self) -> tuple[Fill, ...]:
        """Return the fills that ended one: the k-th sell ends the k-th buy."""
        return self.fills[1::2]

    @property
    def is_open_at_end(self) -> bool:
        """Return whether the range ended before the last position did."""
        return len(self.fills) % 2 == 1

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """Return the round trips in time order; the last may be open at the end."""
        fills = list(zip(self.indices, self.fills, strict=True))
        exits = [*fills[1::2], None] if self.is_open_at_end else fills[1::2]
        return tuple(
            trade_of(self.candles, entry, leave)
            for entry, leave in zip(fills[0::2], exits, strict=True)
        )

    @property
    def final_equity(self) -> float:
        """Return cash and position at the last close, quote currency."""
        return float(self.equity[-1]) if len(self.equity) else self.rules.cash

    @property
    def exposure(self) -> float:
        """Return the part of the candles at whose close a position was open, 0 to 1."""
        if not len(self.candles):
            return 0.0
        ends = sum(self.indices[1::2]) + (len(self.candles) if self.is_open_at_end else 0)
        return (ends - sum(self.indices[0::2])) / len(self.candles)


def simulate(
    candles: Candles, signal: NDArray[np.int8], rules: Rules, start_index: int = 0
) -> Result:
    """Trade a strategy's signals: known at the close of bar t, filled at the open of bar t + 1.

    BUY while long and SELL while flat do nothing; a signal on the last bar fills nothing; nothing
    is closed by force at the end. The next bar is the next one stored, across a gap too. An order
    that the market's minimums refuse is tried again on the next bar with the same signal.

    Args:
        candles: Closed candles, oldest first, warm-up included; prices above zero.
        signal: 1 BUY, -1 SELL, 0 HOLD, shape (n,).
        rules: Money, fees and market.
        start_index: First candle that is traded: what was signalled before it is not.

    Raises:
        ValueError: signals and candles differ in length, or start_index is outside them.
    """
    if len(signal) != len(candles) or not 0 <= start_index <= len(candles):
        raise ValueError(
            f"{len(signal)} signals and start_index {start_index} do not fit {len(candles)} candles"
        )
    traded = candles[start_index:]
    account = _Account(traded, rules)
    account.trade(signal[start_index:])
    return Result(
        rules=rules,
        candles=traded,
        start_index=start_index,
        equity=account.equity(),
        cash=account.cash,
        base=account.base,
        indices=tuple(account.indices),
        fills=tuple(account.fills),
        refused=tuple(account.refused),
    )


class _Account:
    """Cash and coins while the signals are gone through."""

    def __init__(self, candles: Candles, rules: Rules) -> None:
        self.candles = candles
        self.model = FillModel.of(rules)
        self.cash = rules.cash
        self._start_cash = rules.cash
        self.base = 0.0
        self.indices: list[int] = []
        self.fills: list[Fill] = []
        self.refused: list[tuple[int, Refused]] = []

    def trade(self, signal: NDArray[np.int8]) -> None:
        """Fill what the signals ask for."""
        # The last bar's signal has no next open.
        events = np.flatnonzero(signal[:-1])
        if not len(events):
            return
        sides = signal[events]
        # Where one side is signalled many bars in a row, only the first can change the position.
        firsts = np.flatnonzero(np.diff(sides, prepend=-sides[:1]))
        bounds = [*firsts.tolist(), len(events)]
        filled_at = events[firsts] + 1
        opens = self.candles.open[filled_at].tolist()
        is_buy = bool(sides[0] > 0)
        is_long = False
        # Runs take turns, so the side need not be looked up.
        for run, (index, open_price) in enumerate(zip(filled_at.tolist(), opens, strict=True)):
            if is_buy != is_long and (
                self._fill(index, open_price, is_buy=is_buy)
                or self._retry(events[bounds[run] + 1 : bounds[run + 1]] + 1, is_buy=is_buy)
            ):
                is_long = is_buy
            is_buy = not is_buy

    def equity(self) -> FloatArray:
        """Return cash and position at each close."""
        lengths = np.diff(np.asarray([0, *self.indices, len(self.candles)]))
        # A running sum adds in the order in which the account did: the same to the last bit.
        cash = np.cumsum([self._start_cash, *(fill.cash_change for fill in self.fills)])
        base = np.cumsum([0.0, *(fill.base_change for fill in self.fills)])
        worth = np.repeat(base, lengths)
        worth *= self.candles.close
        worth += np.repeat(cash, lengths)
        return worth

    def _retry(self, indices: IntArray, *, is_buy: bool) -> bool:
        return any(
            self._fill(index, float(self.candles.open[index]), is_buy=is_buy)
            for index in indices.tolist()
        )

    def _fill(self, index: int, open_price: float, *, is_buy: bool) -> bool:
        if is_buy:
            fill = self.model.buy(self.cash, open_price)
        else:
            fill = self.model.sell(self.base, open_price)
        if isinstance(fill, Refused):
            self.refused.append((index, fill))
            return False
        self.indices.append(index)
        self.fills.append(fill)
        self.cash += fill.cash_change
        self.base += fill.base_change
        return True
